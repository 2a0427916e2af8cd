// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	corev1 "k8s.io/api/core/v1"
)

var claims = kind[*corev1.PersistentVolumeClaim]{
	name: "PersistentVolumeClaim", validate: ValidatePersistentVolumeClaim, toHost: (*toHost).claim, toVirtual: (*toVirtual).claim,
}

// PersistentVolumeClaimToHost returns the host claim of a virtual claim.
func (t *Translator) PersistentVolumeClaimToHost(v *corev1.PersistentVolumeClaim, in Inputs) (*corev1.PersistentVolumeClaim, error) {
	return claims.hostOf(t, v, in)
}

// PersistentVolumeClaimToVirtual returns the virtual claim that a host claim
// is.
func (t *Translator) PersistentVolumeClaimToVirtual(h *corev1.PersistentVolumeClaim) (*corev1.PersistentVolumeClaim, error) {
	return claims.virtualOf(t, h)
}

// claim translates the source of a claim. The namespace of a source can only be
// the claim's own (ValidatePersistentVolumeClaim), which goes without saying.
func (c *toHost) claim(h, _ *corev1.PersistentVolumeClaim) {
	c.references(h)
	if ref := h.Spec.DataSourceRef; ref != nil {
		replace(c.overlay, "dataSourceRef.namespace", &ref.Namespace, nil)
	}
}

func (c *toVirtual) claim(v, _ *corev1.PersistentVolumeClaim) {
	if ref := v.Spec.DataSourceRef; ref != nil {
		unreplace(c.overlay, "dataSourceRef.namespace", &ref.Namespace)
	}
	c.references(v)
}
