// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const reservedDetail = "the prefix " + Prefix + " is reserved"

// ValidateVirtual lists the values that a tenant may not write in the metadata
// of any object that reaches the host.
func ValidateVirtual(m metav1.Object) field.ErrorList { return validateMetadata(m) }

// validateMetadata makes an exception of some annotations.
func validateMetadata(m metav1.Object, annotations ...string) field.ErrorList {
	path := field.NewPath("metadata")
	errs := reservedKeys(path.Child("labels"), m.GetLabels())
	errs = append(errs, reservedKeys(path.Child("annotations"), m.GetAnnotations(), annotations...)...)
	for i, f := range m.GetFinalizers() {
		if Reserved(f) {
			errs = append(errs, field.Forbidden(path.Child("finalizers").Index(i), reservedDetail))
		}
	}
	return errs
}

// ValidatePod lists the values that a tenant may not write in a pod.
func ValidatePod(v *corev1.Pod) field.ErrorList {
	errs := append(validateMetadata(v, AnnotationEtcHosts), validateEtcHosts(v)...)
	spec := field.NewPath("spec")
	for i := range v.Spec.TopologySpreadConstraints {
		errs = append(errs, reservedSelector(spec.Child("topologySpreadConstraints").Index(i).Child("labelSelector"), v.Spec.TopologySpreadConstraints[i].LabelSelector)...)
	}
	if a := v.Spec.Affinity; a != nil {
		errs = append(errs, validateAffinity(spec.Child("affinity"), a)...)
	}
	for i := range v.Spec.Volumes {
		path := spec.Child("volumes").Index(i)
		if e := v.Spec.Volumes[i].Ephemeral; e != nil && e.VolumeClaimTemplate != nil {
			errs = append(errs, validateClaimSpec(path.Child("ephemeral", "volumeClaimTemplate", "spec"), v.Namespace, &e.VolumeClaimTemplate.Spec)...)
		}
	}
	return errs
}

func validateAffinity(path *field.Path, a *corev1.Affinity) field.ErrorList {
	var errs field.ErrorList
	term := func(path *field.Path, t *corev1.PodAffinityTerm) {
		errs = append(errs, reservedSelector(path.Child("labelSelector"), t.LabelSelector)...)
		errs = append(errs, reservedSelector(path.Child("namespaceSelector"), t.NamespaceSelector)...)
	}
	both := func(path *field.Path, required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
		for i := range required {
			term(path.Child("requiredDuringSchedulingIgnoredDuringExecution").Index(i), &required[i])
		}
		for i := range preferred {
			term(path.Child("preferredDuringSchedulingIgnoredDuringExecution").Index(i).Child("podAffinityTerm"), &preferred[i].PodAffinityTerm)
		}
	}
	if p := a.PodAffinity; p != nil {
		both(path.Child("podAffinity"), p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if p := a.PodAntiAffinity; p != nil {
		both(path.Child("podAntiAffinity"), p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	return errs
}

// ValidateService lists the values that a tenant may not write in a Service.
func ValidateService(v *corev1.Service) field.ErrorList {
	return append(ValidateVirtual(v), reservedKeys(field.NewPath("spec", "selector"), v.Spec.Selector)...)
}

// ValidatePersistentVolumeClaim lists the values that a tenant may not write in
// a claim.
func ValidatePersistentVolumeClaim(v *corev1.PersistentVolumeClaim) field.ErrorList {
	return append(ValidateVirtual(v), validateClaimSpec(field.NewPath("spec"), v.Namespace, &v.Spec)...)
}

// validateClaimSpec refuses a source in another namespace. On the host all
// namespaces are one, so the host would not ask for a ReferenceGrant.
func validateClaimSpec(path *field.Path, namespace string, spec *corev1.PersistentVolumeClaimSpec) field.ErrorList {
	errs := reservedSelector(path.Child("selector"), spec.Selector)
	if ref := spec.DataSourceRef; ref != nil && ref.Namespace != nil && *ref.Namespace != namespace {
		errs = append(errs, field.Forbidden(path.Child("dataSourceRef", "namespace"), "a source in another namespace is not available in a virtual cluster"))
	}
	return errs
}

func reservedKeys(path *field.Path, m map[string]string, except ...string) field.ErrorList {
	var errs field.ErrorList
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if Reserved(k) && !slices.Contains(except, k) {
			errs = append(errs, field.Forbidden(path.Key(k), reservedDetail))
		}
	}
	return errs
}

func reservedSelector(path *field.Path, s *metav1.LabelSelector) field.ErrorList {
	if s == nil {
		return nil
	}
	errs := reservedKeys(path.Child("matchLabels"), s.MatchLabels)
	for i, r := range s.MatchExpressions {
		if Reserved(r.Key) {
			errs = append(errs, field.Forbidden(path.Child("matchExpressions").Index(i).Child("key"), reservedDetail))
		}
	}
	return errs
}

// invalid makes the Status 422 of a list of errors, or nil of none.
func invalid(kind schema.GroupKind, name string, errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(kind, name, errs)
}
