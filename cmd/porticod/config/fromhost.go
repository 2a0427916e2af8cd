// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// FromHost chooses the cluster-scoped objects of the host that the tenant sees,
// under their own names.
type FromHost struct {
	// PriorityClasses that are shown can be used by pods on the host. A pod may
	// then preempt the pods of others there.
	PriorityClasses FromHostKind `json:"priorityClasses"`
	// RuntimeClasses that are shown can be used by pods on the host.
	RuntimeClasses FromHostKind `json:"runtimeClasses"`
	// DeviceClasses that are shown can be used by ResourceClaims on the host.
	DeviceClasses FromHostKind `json:"deviceClasses"`
	// StorageClasses are shown by default if the host lets porticod see them. With
	// a selector, claims may name no other class of the host.
	StorageClasses FromHostOptional `json:"storageClasses"`
	// IngressClasses are shown for people, and for the default class of an Ingress.
	IngressClasses FromHostKind `json:"ingressClasses"`
	// ConfigMaps and Secrets are those of named namespaces.
	ConfigMaps FromHostObjects `json:"configMaps"`
	Secrets    FromHostObjects `json:"secrets"`
	// PersistentVolumes of bound claims are shown if the host lets porticod get
	// them.
	PersistentVolumes FromHostVolumes `json:"persistentVolumes"`
}

// FromHostVolumes is about the volumes of bound claims.
type FromHostVolumes struct {
	// Enabled true: porticod has the right to get volumes of the host, and does not
	// start without. Otherwise they are shown if the host lets it.
	Enabled bool `json:"enabled"`
}

// FromHostOptional chooses objects of one kind that are shown unless the
// configuration or the host says no.
type FromHostOptional struct {
	// Enabled true: porticod does not start if the host refuses; false: nothing is
	// shown; unset: objects are shown if the host lets porticod see them.
	Enabled *bool `json:"enabled,omitempty"`
	// Selector chooses by labels; empty means all.
	Selector metav1.LabelSelector `json:"selector"`
}

// Demanded reports whether the objects are asked for expressly. A selector,
// which limits the tenants' use, is as good as the switch.
func (k *FromHostOptional) Demanded() bool {
	return ptr.Deref(k.Enabled, k.Limits())
}

// Limits reports whether the configuration chooses among the host's objects.
func (k *FromHostOptional) Limits() bool {
	return len(k.Selector.MatchLabels) > 0 || len(k.Selector.MatchExpressions) > 0
}

// Shown selects the host objects that are shown; nil means none.
func (k *FromHostOptional) Shown() (labels.Selector, error) {
	return k.kind().Shown()
}

// kind is the choice for a host that does not say no.
func (k *FromHostOptional) kind() *FromHostKind {
	return &FromHostKind{Enabled: ptr.Deref(k.Enabled, true), Selector: k.Selector}
}

func (k *FromHostOptional) validate(path *field.Path) field.ErrorList {
	return k.kind().validate(path)
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
		f.RuntimeClasses.validate(path.Child("runtimeClasses")), f.DeviceClasses.validate(path.Child("deviceClasses")),
		f.StorageClasses.validate(path.Child("storageClasses")), f.IngressClasses.validate(path.Child("ingressClasses")))
}

func (k *FromHostKind) validate(path *field.Path) field.ErrorList {
	errs := metav1validation.ValidateLabelSelector(&k.Selector, metav1validation.LabelSelectorValidationOptions{}, path.Child("selector"))
	if !k.Enabled && (len(k.Selector.MatchLabels) > 0 || len(k.Selector.MatchExpressions) > 0) {
		errs = append(errs, field.Invalid(path.Child("selector"), metav1.FormatLabelSelector(&k.Selector), "nothing is shown; set enabled as well"))
	}
	return errs
}
