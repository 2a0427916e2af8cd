// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package endpoints

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/kinds"
)

// seen returns the host slice of that name if the view has it, and it is the one
// of the virtual slice.
func (c *Controller) seen(key types.NamespacedName, name string) *discoveryv1.EndpointSlice {
	s, ok := c.copies.Look(name)
	if !ok || !c.translator.Is(s, kinds.PushedEndpointSlices.Kind, key.Namespace, key.Name) {
		return nil
	}
	return s
}

// place returns the name under which a virtual slice is on the host: the former
// one if it is there under that. A second slice would double its endpoints, so of
// two the former goes.
func (c *Controller) place(ctx context.Context, key types.NamespacedName) (string, error) {
	names := c.translator.HostNames(kinds.PushedEndpointSlices.Kind, key.Namespace, key.Name)
	for _, former := range names[1:] {
		switch {
		case c.seen(key, former) == nil:
		case c.seen(key, names[0]) == nil:
			return former, nil
		default:
			return names[0], c.removeNamed(ctx, key, former)
		}
	}
	return names[0], nil
}

// inputs finds which of the objects that a slice names have former names on the
// host. It returns ErrForeign if the host has something else under the name of
// the Service.
func (c *Controller) inputs(ctx context.Context, virtual *discoveryv1.EndpointSlice) (rewrite.Inputs, error) {
	var in rewrite.Inputs
	namespace, service := virtual.Namespace, virtual.Labels[discoveryv1.LabelServiceName]
	if names := c.translator.HostNames("Service", namespace, service); len(names) > 1 {
		found, err := rewrite.Find(c.translator, "Service", namespace, service, func(name string) (*corev1.Service, error) {
			return c.host.CoreV1().Services(c.translator.Cluster().HostNamespace).Get(ctx, name, metav1.GetOptions{})
		})
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return in, err
		case found.Name != names[0]:
			in.Former = append(in.Former, rewrite.Named{Kind: "Service", Name: service})
		}
	}
	in.Former = append(in.Former, c.formerPods(virtual)...)
	return in, nil
}

// formerPods returns those pods that the host slice already leads to under
// former names.
func (c *Controller) formerPods(virtual *discoveryv1.EndpointSlice) []rewrite.Named {
	var targets []corev1.ObjectReference
	key := types.NamespacedName{Namespace: virtual.Namespace, Name: virtual.Name}
	for _, name := range c.translator.HostNames(kinds.PushedEndpointSlices.Kind, virtual.Namespace, virtual.Name) {
		if s := c.seen(key, name); s != nil {
			for i := range s.Endpoints {
				if ref := s.Endpoints[i].TargetRef; ref != nil {
					targets = append(targets, *ref)
				}
			}
		}
	}
	var out []rewrite.Named
	for i := range virtual.Endpoints {
		ref := virtual.Endpoints[i].TargetRef
		if ref == nil || ref.Kind != "Pod" {
			continue
		}
		former, had := c.translator.FormerName(virtual.Namespace, ref.Name)
		if had && slices.ContainsFunc(targets, func(t corev1.ObjectReference) bool { return t.Name == former && t.UID == ref.UID }) {
			out = append(out, rewrite.Named{Kind: "Pod", Name: ref.Name})
		}
	}
	return out
}
