// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// FromHost chooses what of the host's cluster-scoped objects the tenant sees,
// under their own names.
type FromHost struct {
	// PriorityClasses that are shown can be used by pods on the host. A pod may
	// then preempt what others run there.
	PriorityClasses FromHostKind `json:"priorityClasses"`
	// RuntimeClasses that are shown can be used by pods on the host.
	RuntimeClasses FromHostKind `json:"runtimeClasses"`
	// DeviceClasses that are shown can be used by ResourceClaims on the host.
	DeviceClasses FromHostKind `json:"deviceClasses"`
}

// FromHostKind chooses objects of one kind.
type FromHostKind struct {
	Enabled bool `json:"enabled"`
	// Selector chooses by labels; empty means all.
	Selector metav1.LabelSelector `json:"selector"`
}

// Shown selects the host objects that are shown; nil means none.
func (k *FromHostKind) Shown() (labels.Selector, error) {
	if !k.Enabled {
		return nil, nil
	}
	return metav1.LabelSelectorAsSelector(&k.Selector)
}

func (f *FromHost) validate(path *field.Path) field.ErrorList {
	return slices.Concat(f.PriorityClasses.validate(path.Child("priorityClasses")),
		f.RuntimeClasses.validate(path.Child("runtimeClasses")), f.DeviceClasses.validate(path.Child("deviceClasses")))
}

func (k *FromHostKind) validate(path *field.Path) field.ErrorList {
	errs := metav1validation.ValidateLabelSelector(&k.Selector, metav1validation.LabelSelectorValidationOptions{}, path.Child("selector"))
	if !k.Enabled && (len(k.Selector.MatchLabels) > 0 || len(k.Selector.MatchExpressions) > 0) {
		errs = append(errs, field.Invalid(path.Child("selector"), metav1.FormatLabelSelector(&k.Selector), "nothing is shown; set enabled as well"))
	}
	return errs
}
