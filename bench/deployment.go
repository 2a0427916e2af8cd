// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/rest"
)

// measureDeployment compares the time from the creation of a Deployment until
// all of its pods are ready.
func (b *bench) measureDeployment(ctx context.Context) (err error) {
	door, host := side{"door", b.virtual, b.namespace + "-apps"}, side{"host", b.hostClient, b.namespace + "-apps"}
	for _, s := range []side{door, host} {
		defer func() { err = joined(err, s.tearDown(ctx)) }()
		if err := s.setUp(ctx); err != nil {
			return fmt.Errorf("prepare the %s side: %w", s.name, err)
		}
	}
	b.say("Measuring a Deployment of %d pods", b.replicas)
	p := plan{clients: 1, batch: 1, rounds: 3, budget: 3 * b.budget}
	b.compare(ctx, "pods that run", fmt.Sprintf("Deployment of %d, create to all ready", b.replicas), p, door, host, deploys(door, b.replicas), deploys(host, b.replicas))
	return nil
}

// deploys makes a Deployment, and afterwards removes it and waits for the end of
// its pods.
func deploys(s side, replicas int) exercise {
	at := func(r *rest.Request, name string) *rest.Request {
		path := "/apis/apps/v1/namespaces/" + s.namespace + "/deployments"
		if name != "" {
			path += "/" + name
		}
		return r.AbsPath(path)
	}
	name := func(number int) string { return fmt.Sprintf("many-%d", number) }
	return exercise{
		do: func(ctx context.Context, _, number int) error {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
			defer cancel()
			events, err := at(s.api().Get(), "").Param("watch", "1").Param("fieldSelector", "metadata.name="+name(number)).Stream(ctx)
			if err != nil {
				return err
			}
			defer events.Close()
			body := fmt.Appendf(nil, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":%[1]q},"spec":{"replicas":%[2]d,"selector":{"matchLabels":{"app":%[1]q}},"template":{"metadata":{"labels":{"app":%[1]q}}%[3]s}}}`,
				name(number), replicas, runningPods.spec)
			if err := at(s.api().Post(), "").SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Error(); err != nil {
				return err
			}
			return lineWith(events, fmt.Sprintf(`"readyReplicas":%d,`, replicas))
		},
		after: func(ctx context.Context, from, n int) error {
			for i := range n {
				if err := at(s.api().Delete(), name(from+i)).Param("propagationPolicy", "Foreground").Do(ctx).Error(); err != nil {
					return err
				}
				if err := await(ctx, "the end of the Deployment", func(ctx context.Context) (bool, error) {
					return at(s.api().Get(), name(from+i)).Do(ctx).Error() != nil, nil
				}); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
