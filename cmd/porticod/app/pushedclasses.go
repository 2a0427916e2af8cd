// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/classes"
)

// addClasses sets up what keeps the classes of both sides in step, and returns
// what finds the classes that a new pod has on the host.
func (vc *virtualCluster) addClasses(lead leaderClients, shared informers.SharedInformerFactory) (func(context.Context, *corev1.Pod) (rewrite.HostClasses, error), error) {
	mirror, err := vc.newClasses(lead, shared)
	if err != nil {
		return nil, err
	}
	vc.work.always = append(vc.work.always, mirror.Observe)
	vc.work.leading = append(vc.work.leading, mirror.Run)
	to := vc.config.Sync.ToHost.PriorityClasses
	if !to.Enabled {
		return mirror.Of, nil
	}
	pusher, err := classes.NewPusher(classes.PushConfig{
		Translator: vc.translator, Virtual: lead.virtual, Informers: shared, Host: vc.hostClient, Leader: lead.host, MaxValue: to.MaxValue,
	})
	if err != nil {
		return nil, err
	}
	vc.work.always = append(vc.work.always, pusher.Observe)
	vc.work.leading = append(vc.work.leading, pusher.Run)
	return func(ctx context.Context, pod *corev1.Pod) (rewrite.HostClasses, error) {
		of, err := mirror.Of(ctx, pod)
		if err == nil && of.Priority == "" {
			of.PushedPriority, err = pusher.Of(ctx, pod)
		}
		return of, err
	}, nil
}

// checkPush asks the host at the start for the rights to keep copies of classes.
func (vc *virtualCluster) checkPush(ctx context.Context) error {
	if !vc.config.Sync.ToHost.PriorityClasses.Enabled {
		return nil
	}
	for _, verb := range []string{"get", "list", "watch", "create", "update", "delete"} {
		allowed, err := vc.hostAllows(ctx, authorizationv1.ResourceAttributes{Verb: verb, Group: "scheduling.k8s.io", Resource: "priorityclasses"})
		if err != nil {
			return fmt.Errorf("sync.toHost.priorityClasses: ask the host for rights: %w", err)
		}
		if !allowed {
			return withHint(fmt.Errorf("sync.toHost.priorityClasses: the host does not let porticod %s priorityclasses", verb),
				"porticod needs the ClusterRole porticod-priority-classes in docs/configuration.md, or leave sync.toHost.priorityClasses off")
		}
	}
	return nil
}
