// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite/rules"
)

var claims = kind[*corev1.PersistentVolumeClaim]{
	name: "PersistentVolumeClaim", validate: validatePersistentVolumeClaim, translate: (*translation).claim, restore: (*restoration).claim,
	status: rules.PersistentVolumeClaim.Status,
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
// the claim's own (validatePersistentVolumeClaim), which goes without saying.
func (c *translation) claim(h, v *corev1.PersistentVolumeClaim) {
	c.references(h)
	c.volume(h, v)
	c.storageClass(h, v)
	if ref := h.Spec.DataSourceRef; ref != nil {
		replace(c.overlay, "dataSourceRef.namespace", &ref.Namespace, nil)
	}
}

func (c *restoration) claim(v, _ *corev1.PersistentVolumeClaim) {
	if ref := v.Spec.DataSourceRef; ref != nil {
		unreplace(c.overlay, "dataSourceRef.namespace", &ref.Namespace)
	}
	unreplace(c.overlay, pushedStorage, &v.Spec.StorageClassName)
	unreplace(c.overlay, "selector", &v.Spec.Selector)
	unreplace(c.overlay, "volumeName", &v.Spec.VolumeName)
	c.references(v)
}

// volume narrows the ready-made volumes that a claim may be bound to. Host
// volumes belong to no namespace, and any claim that names an available one gets
// it. So the name becomes that of a volume of this cluster, like the name of
// every other object without a namespace, and a selector selects such volumes
// only. A claim with an empty class, for which no volume is made, gets such a
// selector too: otherwise it would get any available volume without a class.
//
// The name that the host writes when it binds a claim is the host's.
func (c *translation) volume(h, v *corev1.PersistentVolumeClaim) {
	if name := h.Spec.VolumeName; name != "" {
		replace(c.overlay, "volumeName", &h.Spec.VolumeName, c.t.ClusterName(name))
	}
	if h.Spec.Selector == nil && !wantsNoClass(v) {
		return
	}
	selector := &metav1.LabelSelector{}
	if h.Spec.Selector != nil {
		selector = h.Spec.Selector.DeepCopy()
		renameKeys(selector, unreserved)
	}
	if selector.MatchLabels == nil {
		selector.MatchLabels = map[string]string{}
	}
	maps.Copy(selector.MatchLabels, c.t.ClusterScope())
	replace(c.overlay, "selector", &h.Spec.Selector, selector)
}

// unreserved moves a reserved key of a label of volumes: those that an operator
// made for this cluster are not those that a tenant labelled so. Other keys are
// the host's, and the lists for pods do not count.
func unreserved(key string) string {
	if Reserved(key) {
		return movedLabelKey(key)
	}
	return key
}

// wantsNoClass reports whether a claim has an empty class, which is not the same
// as no class (k8s.io/component-helpers/storage/volume).
func wantsNoClass(v *corev1.PersistentVolumeClaim) bool {
	_, annotated := v.Annotations[corev1.BetaStorageClassAnnotation]
	return classOf(v) == "" && (annotated || v.Spec.StorageClassName != nil)
}
