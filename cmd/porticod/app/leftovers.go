// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"

	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/klog/v2"

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/rewrite"
)

// switchedOff is a kind that no part keeps copies of.
type switchedOff struct {
	key, kind string
	resource  schema.GroupVersionResource
}

// switchedOffKinds are those that the configuration leaves out. The host may have
// copies of a time when it did not.
func switchedOffKinds(to *config.ToHost) (all []switchedOff) {
	for _, k := range []struct {
		on bool
		switchedOff
	}{
		{to.NetworkPolicies.Enabled, switchedOff{"networkPolicies", "NetworkPolicy", networkingv1.SchemeGroupVersion.WithResource("networkpolicies")}},
		{to.PodDisruptionBudgets.Enabled, switchedOff{"podDisruptionBudgets", "PodDisruptionBudget", policyv1.SchemeGroupVersion.WithResource("poddisruptionbudgets")}},
		{to.Ingresses.Enabled, switchedOff{"ingresses", "Ingress", networkingv1.SchemeGroupVersion.WithResource("ingresses")}},
	} {
		if !k.on {
			all = append(all, k.switchedOff)
		}
	}
	return all
}

// leftoversPart deletes copies of kinds that are switched off, once. A policy that
// nobody keeps in step would go on to hold, and its tenant could not change it.
func (c *composition) leftoversPart() (part, error) {
	return part{leading: func(ctx context.Context) error {
		for _, k := range switchedOffKinds(&c.config.Sync.ToHost) {
			if err := removeLeftovers(ctx, c.lead.hostMetadata, c.translator, k); err != nil && ctx.Err() == nil {
				klog.FromContext(ctx).Error(err, "Copies of a kind that is switched off may be left on the host", "key", "sync.toHost."+k.key)
			}
		}
		<-ctx.Done()
		return nil
	}}, nil
}

// removeLeftovers deletes the copies of one kind: the objects that are identified as
// those of virtual ones, and none that a chart or an operator has made. A host that
// does not let porticod look for them is left alone.
func removeLeftovers(ctx context.Context, host metadata.Interface, t *rewrite.Translator, k switchedOff) error {
	all := host.Resource(k.resource).Namespace(t.Cluster().HostNamespace)
	found, err := all.List(ctx, metav1.ListOptions{LabelSelector: t.ScopeSelector().String()})
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for copies: %w", err)
	}
	for i := range found.Items {
		m := &found.Items[i]
		if _, _, err := t.Identify(k.kind, m); err != nil {
			continue
		}
		err := all.Delete(ctx, m.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(m.UID))})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete %s %s/%s: %w", k.resource.Resource, m.Namespace, m.Name, err)
		}
		klog.FromContext(ctx).Info("Deleted a copy of a kind that is switched off", "resource", k.resource.Resource, "hostObject", klog.KObj(m))
	}
	return nil
}
