// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// A tenant may use reserved keys in metadata: a virtual cluster inside of this one
// does, for which this one is the host. None of them reaches the host under its
// own name (passing.passes), and a selector has the moved keys.

// ValidatePod lists the values that a tenant may not write in a pod.
func ValidatePod(v *corev1.Pod) field.ErrorList {
	errs := validateEtcHosts(v)
	volumes := field.NewPath("spec", "volumes")
	for i := range v.Spec.Volumes {
		if e := v.Spec.Volumes[i].Ephemeral; e != nil && e.VolumeClaimTemplate != nil {
			path := volumes.Index(i).Child("ephemeral", "volumeClaimTemplate", "spec")
			errs = append(errs, validateClaimSpec(path, v.Namespace, &e.VolumeClaimTemplate.Spec)...)
		}
	}
	return errs
}

// validatePersistentVolumeClaim lists the values that a tenant may not write in
// a claim.
func validatePersistentVolumeClaim(v *corev1.PersistentVolumeClaim) field.ErrorList {
	return validateClaimSpec(field.NewPath("spec"), v.Namespace, &v.Spec)
}

// validateClaimSpec refuses a source in another namespace. On the host all
// namespaces are one, so the host would not ask for a ReferenceGrant.
func validateClaimSpec(path *field.Path, namespace string, spec *corev1.PersistentVolumeClaimSpec) field.ErrorList {
	var errs field.ErrorList
	if ref := spec.DataSourceRef; ref != nil && ref.Namespace != nil && *ref.Namespace != namespace {
		errs = append(errs, field.Forbidden(path.Child("dataSourceRef", "namespace"), "a source in another namespace is not available in a virtual cluster"))
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
