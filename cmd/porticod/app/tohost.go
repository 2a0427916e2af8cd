// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"portico.dev/portico/sync/every"
	"portico.dev/portico/sync/kinds"
	"portico.dev/portico/sync/ownvolumes"
)

// checkToHost checks at the start that the host grants the rights that
// sync.toHost needs.
func (vc *virtualCluster) checkToHost(ctx context.Context) error {
	to := vc.config.Sync.ToHost
	if to.PriorityClasses.Enabled {
		classes := authorizationv1.ResourceAttributes{Group: schedulingv1.GroupName, Resource: "priorityclasses"}
		if err := vc.checkVerbs(ctx, classes, "get", "list", "watch", "create", "update", "delete"); err != nil {
			return withHint(fmt.Errorf("sync.toHost.priorityClasses: %w", err),
				"porticod needs the ClusterRole that porticod rights prints, or leave sync.toHost.priorityClasses off")
		}
	}
	if to.StorageClasses.Enabled {
		classes := authorizationv1.ResourceAttributes{Group: storagev1.GroupName, Resource: "storageclasses"}
		if err := vc.checkVerbs(ctx, classes, "get", "list", "watch", "create", "update", "delete"); err != nil {
			return withHint(fmt.Errorf("sync.toHost.storageClasses: %w", err),
				"porticod needs the ClusterRole that porticod rights prints, or leave sync.toHost.storageClasses off")
		}
	}
	if to.PersistentVolumes.Enabled {
		volumes := authorizationv1.ResourceAttributes{Resource: "persistentvolumes"}
		if err := vc.checkVerbs(ctx, volumes, "get", "list", "watch", "create", "update", "delete"); err != nil {
			return withHint(fmt.Errorf("sync.toHost.persistentVolumes: %w", err),
				"porticod needs the ClusterRole that porticod rights prints, or leave sync.toHost.persistentVolumes off")
		}
	}
	if to.ResourceClaims.Enabled {
		if err := vc.checkDeviceAPI(); err != nil {
			return err
		}
		claims := authorizationv1.ResourceAttributes{Group: resourcev1.GroupName, Resource: "resourceclaims", Namespace: vc.config.Host.Namespace}
		if err := vc.checkVerbs(ctx, claims, "get", "list", "watch", "create", "patch", "delete"); err != nil {
			return withHint(fmt.Errorf("sync.toHost.resourceClaims: %w", err),
				"porticod needs the rule for resourceclaims that porticod rights prints, or leave sync.toHost.resourceClaims off")
		}
	}
	for _, kind := range []struct {
		key             string
		on              bool
		group, resource string
	}{
		{"sync.toHost.networkPolicies", to.NetworkPolicies.Enabled, networkingv1.GroupName, "networkpolicies"},
		{"sync.toHost.podDisruptionBudgets", to.PodDisruptionBudgets.Enabled, policyv1.GroupName, "poddisruptionbudgets"},
		{"sync.toHost.ingresses", to.Ingresses.Enabled, networkingv1.GroupName, "ingresses"},
	} {
		if !kind.on {
			continue
		}
		right := authorizationv1.ResourceAttributes{Group: kind.group, Resource: kind.resource, Namespace: vc.config.Host.Namespace}
		if err := vc.checkVerbs(ctx, right, "get", "list", "watch", "create", "patch", "delete"); err != nil {
			return withHint(fmt.Errorf("%s: %w", kind.key, err),
				fmt.Sprintf("porticod needs the rule for %s that porticod rights prints, or leave %s off", kind.resource, kind.key))
		}
	}
	return nil
}

// ownedToo are the kinds of objects on the host that clusters have only if they are
// so configured.
func (vc *virtualCluster) ownedToo() (all []schema.GroupVersionResource) {
	to := vc.config.Sync.ToHost
	for _, kind := range []struct {
		on       bool
		resource schema.GroupVersionResource
	}{
		{to.ResourceClaims.Enabled, resourcev1.SchemeGroupVersion.WithResource("resourceclaims")},
		{to.NetworkPolicies.Enabled, networkingv1.SchemeGroupVersion.WithResource("networkpolicies")},
		{to.PodDisruptionBudgets.Enabled, policyv1.SchemeGroupVersion.WithResource("poddisruptionbudgets")},
		{to.Ingresses.Enabled, networkingv1.SchemeGroupVersion.WithResource("ingresses")},
	} {
		if kind.on {
			all = append(all, kind.resource)
		}
	}
	return all
}

// budgetsPart brings the tenant's PodDisruptionBudgets to the host.
func (c *composition) budgetsPart() (part, error) {
	if !c.config.Sync.ToHost.PodDisruptionBudgets.Enabled {
		return part{}, nil
	}
	p, err := every.New(every.Config[*policyv1.PodDisruptionBudget]{
		Row: kinds.PushedPodDisruptionBudgets, Translator: c.translator, Informers: c.shared, Host: c.lead.host, Events: c.report, Reason: "NotOnHost",
	})
	if err != nil {
		return part{}, err
	}
	return part{leading: p.Run}, nil
}

// ownVolumesPart lets claims have the volumes that the tenant makes.
func (c *composition) ownVolumesPart() (part, error) {
	to := c.config.Sync.ToHost.PersistentVolumes
	if !to.Enabled {
		return part{}, nil
	}
	v, err := ownvolumes.New(ownvolumes.Config{
		Translator: c.translator, Virtual: c.lead.virtual, Informers: c.shared, Host: c.lead.host, Events: c.report,
		Limits: ownvolumes.Limits{Drivers: to.Drivers}, Scheduler: c.config.Sync.Nodes.EnableScheduler,
	})
	if err != nil {
		return part{}, err
	}
	return part{leading: v.Run}, nil
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
			return fmt.Errorf("the host does not let porticod %s %s", right.Verb, described(right))
		}
	}
	return nil
}
