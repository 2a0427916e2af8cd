// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/informers"

	"portico.dev/portico/proxy/host"
	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/classes"
)

// addClasses sets up what keeps the classes of both sides in step, and tells
// what finds those that a new pod and a new ResourceClaim have on the host.
func (vc *virtualCluster) addClasses(lead leaderClients, shared informers.SharedInformerFactory, c *host.Config) error {
	mirror, err := vc.newClasses(lead, shared)
	if err != nil {
		return err
	}
	vc.work.always = append(vc.work.always, mirror.Observe)
	vc.work.leading = append(vc.work.leading, mirror.Run)
	c.HostClasses, c.DeviceClasses = mirror.Of, mirror.OfClaim
	to := vc.config.Sync.ToHost.PriorityClasses
	if !to.Enabled {
		return nil
	}
	pusher, err := classes.NewPusher(classes.PushConfig{
		Translator: vc.translator, Virtual: lead.virtual, Informers: shared, Host: vc.hostClient, Leader: lead.host, MaxValue: to.MaxValue,
	})
	if err != nil {
		return err
	}
	vc.work.always = append(vc.work.always, pusher.Observe)
	vc.work.leading = append(vc.work.leading, pusher.Run)
	c.HostClasses = func(ctx context.Context, pod *corev1.Pod) (rewrite.HostClasses, error) {
		of, err := mirror.Of(ctx, pod)
		if err == nil && of.Priority == "" {
			of.PushedPriority, err = pusher.Of(ctx, pod)
		}
		return of, err
	}
	return nil
}

// checkToHost asks the host at the start for the rights to have what of the
// tenant's it is to get.
func (vc *virtualCluster) checkToHost(ctx context.Context) error {
	to := vc.config.Sync.ToHost
	if to.PriorityClasses.Enabled {
		classes := authorizationv1.ResourceAttributes{Group: schedulingv1.GroupName, Resource: "priorityclasses"}
		if err := vc.checkVerbs(ctx, classes, "get", "list", "watch", "create", "update", "delete"); err != nil {
			return withHint(fmt.Errorf("sync.toHost.priorityClasses: %w", err),
				"porticod needs the ClusterRole porticod-priority-classes in docs/configuration.md, or leave sync.toHost.priorityClasses off")
		}
	}
	if to.ResourceClaims.Enabled {
		if err := vc.checkDeviceAPI(); err != nil {
			return err
		}
		claims := authorizationv1.ResourceAttributes{Group: resourcev1.GroupName, Resource: "resourceclaims", Namespace: vc.config.Host.Namespace}
		if err := vc.checkVerbs(ctx, claims, "get", "list", "watch", "create", "patch", "delete"); err != nil {
			return withHint(fmt.Errorf("sync.toHost.resourceClaims: %w", err),
				"porticod needs the rule for resourceclaims of the Role in docs/configuration.md, or leave sync.toHost.resourceClaims off")
		}
	}
	return nil
}

// checkDeviceAPI returns an error if the host is too old for claims.
func (vc *virtualCluster) checkDeviceAPI() error {
	version := resourcev1.SchemeGroupVersion.String()
	_, err := vc.hostClient.Discovery().ServerResourcesForGroupVersion(version)
	if apierrors.IsNotFound(err) {
		return withHint(fmt.Errorf("sync.toHost.resourceClaims: the host does not serve %s", version),
			"Kubernetes has this API since 1.34; for an older host leave sync.toHost.resourceClaims off")
	}
	if err != nil {
		return fmt.Errorf("sync.toHost.resourceClaims: ask the host for %s: %w", version, err)
	}
	return nil
}

// checkVerbs returns an error for the first of the verbs that the host does not
// let porticod use.
func (vc *virtualCluster) checkVerbs(ctx context.Context, right authorizationv1.ResourceAttributes, verbs ...string) error {
	for _, right.Verb = range verbs {
		allowed, err := vc.hostAllows(ctx, right)
		if err != nil {
			return fmt.Errorf("ask the host for rights: %w", err)
		}
		if !allowed {
			return fmt.Errorf("the host does not let porticod %s %s", right.Verb, right.Resource)
		}
	}
	return nil
}
