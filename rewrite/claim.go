// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	corev1 "k8s.io/api/core/v1"
)

// PersistentVolumeClaimToHost returns the host claim of a virtual claim.
func (t *Translator) PersistentVolumeClaimToHost(v *corev1.PersistentVolumeClaim, in Inputs) (*corev1.PersistentVolumeClaim, error) {
	if err := invalid("PersistentVolumeClaim", v.Name, ValidatePersistentVolumeClaim(v)); err != nil {
		return nil, err
	}
	c := t.toHost("PersistentVolumeClaim", v, in)
	h := v.DeepCopy()
	host, _ := in.Host.(*corev1.PersistentVolumeClaim)
	if host == nil {
		c.metadata(&h.ObjectMeta, nil)
		c.claim(h)
		return h, c.seal(&h.ObjectMeta)
	}
	seen, prior, err := t.restoreClaim(host)
	if err != nil {
		return nil, err
	}
	c.over(prior, &host.ObjectMeta)
	c.metadata(&h.ObjectMeta, &hostMeta{host: &host.ObjectMeta, seen: &seen.ObjectMeta})
	c.claim(h)
	host = host.DeepCopy()
	c.keep("", &v.Spec, &seen.Spec, &host.Spec, &h.Spec)
	c.keep("status", &v.Status, &seen.Status, &host.Status, &h.Status)
	return h, c.seal(&h.ObjectMeta)
}

// claim translates the source of a claim. The namespace of a source can only be
// the claim's own (ValidatePersistentVolumeClaim), which goes without saying.
func (c *toHost) claim(h *corev1.PersistentVolumeClaim) {
	c.references(h)
	if ref := h.Spec.DataSourceRef; ref != nil {
		replace(c.overlay, "dataSourceRef.namespace", &ref.Namespace, nil)
	}
}

// PersistentVolumeClaimToVirtual returns the virtual claim that a host claim
// is.
func (t *Translator) PersistentVolumeClaimToVirtual(h *corev1.PersistentVolumeClaim) (*corev1.PersistentVolumeClaim, error) {
	v, c, err := t.restoreClaim(h)
	if err != nil {
		return nil, err
	}
	return v, c.err(h.Name)
}

func (t *Translator) restoreClaim(h *corev1.PersistentVolumeClaim) (*corev1.PersistentVolumeClaim, *toVirtual, error) {
	c, err := t.toVirtual("PersistentVolumeClaim", &h.ObjectMeta)
	if err != nil {
		return nil, nil, err
	}
	v := h.DeepCopy()
	c.metadata(&v.ObjectMeta)
	if ref := v.Spec.DataSourceRef; ref != nil {
		unreplace(c.overlay, "dataSourceRef.namespace", &ref.Namespace)
	}
	c.references(v)
	return v, c, nil
}
