// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite/rules"
)

// pushedStorage is the record of a class that the host has a copy of.
const pushedStorage = "storageClassName"

// StorageClassToHost returns the host copy of a tenant's class, which
// StorageClassProblems has found nothing against. It has none of the tenant's
// labels and annotations: one would make it the host's default, and provisioners
// read others as parameters.
func (t *Translator) StorageClassToHost(v *storagev1.StorageClass) *storagev1.StorageClass {
	h := v.DeepCopy()
	h.ObjectMeta = t.bareClass("StorageClass", v.Name)
	return h
}

// StorageClassProblems lists the parts of a tenant's class that the host must not
// get: provisioners act on parameters with rights of their own, and mount options
// are the node's. allowed are the keys of parameters that the operator lets pass.
func StorageClassProblems(v *storagev1.StorageClass, allowed []string) field.ErrorList {
	var errs field.ErrorList
	for _, key := range slices.Sorted(maps.Keys(v.Parameters)) {
		path := field.NewPath("parameters").Key(key)
		switch {
		case slices.Contains(rules.HarmlessParameters, strings.ToLower(key)):
		case DangerousParameter(key):
			errs = append(errs, field.Forbidden(path, "names a Secret or a namespace of the host, or a credential, and is the operator's to choose"))
		case !slices.Contains(allowed, key):
			errs = append(errs, field.Forbidden(path, "is not among the parameters that the operator of the host lets pass"))
		}
	}
	for i, option := range v.MountOptions {
		if _, value, ok := strings.Cut(option, "="); ok && strings.Contains(value, "/") {
			errs = append(errs, field.Forbidden(field.NewPath("mountOptions").Index(i), "names a path of the node"))
		}
	}
	return errs
}

// DangerousParameter reports whether a parameter of a tenant's storage class never
// reaches the host, also if an operator would let it.
func DangerousParameter(key string) bool {
	key = strings.ToLower(key)
	return slices.ContainsFunc(rules.DangerousParameters, func(part string) bool { return strings.Contains(key, part) })
}

// storageClass gives a claim of a class of the tenant's the name of its copy. The
// old annotation counts before the field, and so it does not reach the host. A
// class is decided when the claim gets it: it cannot change later.
func (c *translation) storageClass(h, v *corev1.PersistentVolumeClaim) {
	class := classOf(v)
	if class == "" || !c.pushesStorage(class) {
		return
	}
	replace(c.overlay, pushedStorage, &h.Spec.StorageClassName, ptr.To(c.t.ClusterName(class)))
	if _, ok := v.Annotations[corev1.BetaStorageClassAnnotation]; !ok {
		return
	}
	delete(h.Annotations, corev1.BetaStorageClassAnnotation)
	delete(c.passed().Annotations, corev1.BetaStorageClassAnnotation)
	c.overlay.Annotations = maps.Clone(c.overlay.Annotations)
	if c.overlay.Annotations == nil {
		c.overlay.Annotations = map[string]string{}
	}
	c.overlay.Annotations[corev1.BetaStorageClassAnnotation] = class
}

// pushesStorage reports whether the host claim has the copy of a tenant's class.
func (c *translation) pushesStorage(class string) bool {
	if host, ok := c.in.Host.(*corev1.PersistentVolumeClaim); ok && classOf(host) != "" {
		_, pushed := c.prior.Records[pushedStorage]
		return pushed && c.t.isClusterName(classOf(host), class)
	}
	return class == c.in.PushedStorage
}

// StorageClassToVirtual returns what a host class is called inside, for the
// volume of a claim: by the name that the claim has for it, if it is the copy.
func (t *Translator) StorageClassToVirtual(host string, claim *corev1.PersistentVolumeClaim) string {
	if class := classOf(claim); class != "" && t.isClusterName(host, class) {
		return class
	}
	return host
}

// classOf is the class of a claim (k8s.io/component-helpers/storage/volume).
func classOf(claim *corev1.PersistentVolumeClaim) string {
	if class, ok := claim.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		return class
	}
	return ptr.Deref(claim.Spec.StorageClassName, "")
}

// HasPushedStorage reports whether a host claim names the copy of a class of its
// tenant's.
func (t *Translator) HasPushedStorage(h *corev1.PersistentVolumeClaim) bool {
	o, err := t.codec.decode(h.Annotations)
	if err != nil {
		return false
	}
	var class replaced[*string]
	return o.get(pushedStorage, &class) && class.Host != nil && *class.Host == classOf(h)
}
