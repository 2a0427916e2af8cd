// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"portico.dev/portico/cmd/porticod/demo"
)

// The size of the cluster that is restarted.
const (
	restartedKinds   = 50
	restartedObjects = 10_000
	restartWatches   = 100
)

// restartGroup is the API group of the custom kinds.
const restartGroup = "bench.portico.dev"

// measureRestart measures the outage of a restart as a client sees it, in a
// cluster with many kinds and objects and with open watches: from the last answer
// before the end to the first answers afterwards, one about a native object and
// one about a custom one. Medians of several restarts.
func (b *bench) measureRestart(ctx context.Context) error {
	b.say("Making %d custom kinds and %d objects", restartedKinds, restartedObjects)
	if err := fillForRestart(ctx, b.virtual); err != nil {
		return err
	}
	var stops, starts, outages latencies
	for range b.starts {
		stop, start, outage, err := restartOnce(ctx, b.clusters)
		if err != nil {
			return err
		}
		stops, starts, outages = append(stops, stop), append(starts, start), append(outages, outage)
	}
	what := fmt.Sprintf(" with %d custom kinds, %d objects and %d watches", restartedKinds, restartedObjects, restartWatches)
	for _, m := range []struct {
		what  string
		times latencies
		mark  float64
	}{{"stop", stops, stopMark}, {"exec to served custom objects", starts, startFullMark}, {"outage of a restart", outages, stopMark + startFullMark}} {
		slices.Sort(m.times)
		b.report.value(valueRow{"restart", m.what + what, m.times.percentile(50).Seconds(), "s", spread(m.times), m.mark})
	}
	return b.connect(ctx)
}

func restartOnce(ctx context.Context, c *demo.Clusters) (stop, start, outage time.Duration, err error) {
	client, err := c.Virtual.Client()
	if err != nil {
		return 0, 0, 0, err
	}
	if err := openWatches(ctx, client); err != nil {
		return 0, 0, 0, err
	}
	last := make(chan time.Time, 1)
	go func() { last <- lastAnswer(ctx, client) }()
	began := time.Now()
	if err := c.StopVirtual(); err != nil {
		return 0, 0, 0, err
	}
	stop = time.Since(began)
	began = time.Now()
	if err := c.StartVirtual(ctx); err != nil {
		return 0, 0, 0, err
	}
	if client, err = c.Virtual.Client(); err != nil {
		return 0, 0, 0, err
	}
	if err := ask(ctx, client); err != nil {
		return 0, 0, 0, err
	}
	now := time.Now()
	return stop, now.Sub(began), now.Sub(<-last), nil
}

// ask gets a native object and lists objects of the last custom kind.
func ask(ctx context.Context, client kubernetes.Interface) error {
	if _, err := client.CoreV1().ConfigMaps("default").Get(ctx, "restart-0", metav1.GetOptions{}); err != nil {
		return err
	}
	path := fmt.Sprintf("/apis/%s/v1/namespaces/default/%s", restartGroup, kindOf(restartedKinds-1))
	return client.CoreV1().RESTClient().Get().AbsPath(path).Param("limit", "10").Do(ctx).Error()
}

// lastAnswer asks until there is no answer, and returns when there was the last.
func lastAnswer(ctx context.Context, client kubernetes.Interface) time.Time {
	last := time.Now()
	for ctx.Err() == nil {
		// client-go would wait and try again after a refusal.
		err := client.CoreV1().RESTClient().Get().AbsPath("/api/v1/namespaces/default/configmaps/restart-0").MaxRetries(0).Do(ctx).Error()
		if err != nil {
			return last
		}
		last = time.Now()
	}
	return last
}

// openWatches opens watches that nobody closes but the server.
func openWatches(ctx context.Context, client kubernetes.Interface) error {
	for i := range restartWatches {
		path := "/api/v1/" + []string{"pods", "configmaps", "services", "namespaces"}[i%4]
		body, err := client.CoreV1().RESTClient().Get().AbsPath(path).Param("watch", "1").Stream(ctx)
		if err != nil {
			return fmt.Errorf("watch %s: %w", path, err)
		}
		go func() {
			_, err := io.Copy(io.Discard, body)
			_ = errors.Join(err, body.Close()) // It ends with the server, one way or another.
		}()
	}
	return nil
}

// kindOf is the plural name of the i-th custom kind.
func kindOf(i int) string { return fmt.Sprintf("kind%ds", i) }

// fillForRestart makes the custom kinds, and objects: half of them ConfigMaps.
func fillForRestart(ctx context.Context, client kubernetes.Interface) error {
	rc := client.CoreV1().RESTClient()
	for i := range restartedKinds {
		if err := post(ctx, rc, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition(i)); err != nil {
			return fmt.Errorf("create custom kind %d: %w", i, err)
		}
	}
	for i := range restartedObjects {
		if i%2 == 0 {
			m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("restart-%d", i)}, Data: map[string]string{"key": "value"}}
			if _, err := client.CoreV1().ConfigMaps("default").Create(ctx, m, metav1.CreateOptions{}); err != nil {
				return fmt.Errorf("create ConfigMap %d: %w", i, err)
			}
			continue
		}
		k := i / 2 % restartedKinds
		object := map[string]any{
			"apiVersion": restartGroup + "/v1", "kind": fmt.Sprintf("Kind%d", k),
			"metadata": map[string]any{"name": fmt.Sprintf("restart-%d", i)}, "spec": map[string]any{"key": "value"},
		}
		if err := post(ctx, rc, fmt.Sprintf("/apis/%s/v1/namespaces/default/%s", restartGroup, kindOf(k)), object); err != nil {
			return fmt.Errorf("create object %d: %w", i, err)
		}
	}
	return nil
}

// post creates an object, and tries again while its kind is not served yet.
func post(ctx context.Context, rc rest.Interface, path string, object map[string]any) error {
	body, err := json.Marshal(object)
	if err != nil {
		return err
	}
	for {
		err := rc.Post().AbsPath(path).SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Error()
		if !apierrors.IsNotFound(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// definition is the i-th custom kind, with a schema of the usual size.
func definition(i int) map[string]any {
	properties := map[string]any{}
	for f := range 40 {
		properties[fmt.Sprintf("field%d", f)] = map[string]any{
			"type": "object", "description": "A field as operators have them, with a text that says what it is for.",
			"properties": map[string]any{"name": map[string]any{"type": "string"}, "count": map[string]any{"type": "integer", "minimum": 0}},
		}
	}
	return map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": kindOf(i) + "." + restartGroup},
		"spec": map[string]any{
			"group": restartGroup, "scope": "Namespaced",
			"names": map[string]any{"kind": fmt.Sprintf("Kind%d", i), "plural": kindOf(i)},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{
					"type": "object",
					"properties": map[string]any{"spec": map[string]any{
						"type": "object", "properties": properties, "x-kubernetes-preserve-unknown-fields": true,
					}},
				}},
			}},
		},
	}
}
