// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// droppedClaims is the record of the resource claims of a pod that has none on
// the host.
const droppedClaims = "resourceClaims"

// resourceClaims leaves a pod its resource claims where ResourceClaims are the
// host's, and takes them off otherwise: the host knows no claim then. The names
// of claims and of templates are the walker's work. No template is on the host;
// the claims made of one in the virtual cluster are named in the pod's status.
func (c *translation) resourceClaims(spec *corev1.PodSpec) {
	if c.claimsOnHost() {
		return
	}
	drop(c.overlay, droppedClaims, &spec.ResourceClaims)
	if spec.Resources != nil {
		drop(c.overlay, "resources.claims", &spec.Resources.Claims)
	}
	eachContainer(spec, func(key string, ctr *corev1.Container) {
		drop(c.overlay, key+".resources.claims", &ctr.Resources.Claims)
	})
}

// claimsOnHost is decided when a pod is created; its claims cannot change later.
func (c *translation) claimsOnHost() bool {
	if c.in.Host != nil {
		_, dropped := c.prior.Records[droppedClaims]
		return !dropped
	}
	return c.t.cluster.ResourceClaims
}

func (c *restoration) resourceClaims(spec *corev1.PodSpec) {
	eachContainer(spec, func(key string, ctr *corev1.Container) {
		undrop(c.overlay, key+".resources.claims", &ctr.Resources.Claims)
	})
	if spec.Resources != nil {
		undrop(c.overlay, "resources.claims", &spec.Resources.Claims)
	}
	undrop(c.overlay, droppedClaims, &spec.ResourceClaims)
}

// claimStatuses names on the host the claims that were made for a pod, if it
// has claims there.
func (c *translation) claimStatuses(h *corev1.Pod) {
	if len(h.Spec.ResourceClaims) == 0 {
		h.Status.ResourceClaimStatuses = nil
	}
	for _, s := range h.Status.ResourceClaimStatuses {
		if s.ResourceClaimName != nil {
			c.names.add(*s.ResourceClaimName)
			*s.ResourceClaimName = c.hostName("ResourceClaim", *s.ResourceClaimName)
		}
	}
}

// claimStatuses shows the claims that were made for a pod inside. The host's
// controller may name one before the tenant's does; an entry whose name cannot
// be read yet is not shown. Nor are the host's own claims for the pod: those of
// extended resources and of the parts of a node that it manages by claims.
func (c *restoration) claimStatuses(status *corev1.PodStatus) {
	status.ExtendedResourceClaimStatus, status.NodeAllocatableResourceClaimStatuses = nil, nil
	status.ResourceClaimStatuses = orNilList(slices.DeleteFunc(status.ResourceClaimStatuses, func(s corev1.PodResourceClaimStatus) bool {
		if s.ResourceClaimName == nil {
			return false
		}
		name, ok := c.virtualName(*s.ResourceClaimName)
		if !ok {
			name, ok = c.t.PlainName(c.namespace, *s.ResourceClaimName)
		}
		*s.ResourceClaimName = name
		return !ok
	}))
}
