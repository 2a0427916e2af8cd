// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Metadata says which labels and annotations of tenants reach the host, in
// addition to those that are known of tooling there (docs/metadata.md). An
// entry is a key, a prefix that ends in "/" or "*", or a domain and all below
// it, "*.example.com/".
type Metadata struct {
	// MovedLabels are labels that have another key on the host.
	MovedLabels []string `json:"movedLabels,omitempty"`
	// HiddenAnnotations are annotations that do not reach the host.
	HiddenAnnotations []string `json:"hiddenAnnotations,omitempty"`
	// HideNodeAnnotations holds back the keys of pods that are known to change
	// the network, the runtime or the cloud identity of a pod on its node.
	HideNodeAnnotations bool `json:"hideNodeAnnotations"`
	// Allowed are keys that reach the host all the same.
	Allowed AllowedMetadata `json:"allowed"`
}

// AllowedMetadata are, by kind, keys of tenants that reach the host. Those in
// MovedLabels and HiddenAnnotations do not.
type AllowedMetadata struct {
	Pods                   AllowedKeys `json:"pods"`
	Services               AllowedKeys `json:"services"`
	Secrets                AllowedKeys `json:"secrets"`
	ConfigMaps             AllowedKeys `json:"configMaps"`
	PersistentVolumeClaims AllowedKeys `json:"persistentVolumeClaims"`
	ResourceClaims         AllowedKeys `json:"resourceClaims"`
	EndpointSlices         AllowedKeys `json:"endpointSlices"`
}

// AllowedKeys are labels and annotations of one kind.
type AllowedKeys struct {
	Labels      []string `json:"labels,omitempty"`
	Annotations []string `json:"annotations,omitempty"`
}

// Kinds returns the keys by kind.
func (a *AllowedMetadata) Kinds() map[string]AllowedKeys {
	return map[string]AllowedKeys{
		"Pod": a.Pods, "Service": a.Services, "Secret": a.Secrets, "ConfigMap": a.ConfigMaps,
		"PersistentVolumeClaim": a.PersistentVolumeClaims, "ResourceClaim": a.ResourceClaims, "EndpointSlice": a.EndpointSlices,
	}
}

func (m *Metadata) validate(path *field.Path) field.ErrorList {
	errs := append(keys(path.Child("movedLabels"), m.MovedLabels), keys(path.Child("hiddenAnnotations"), m.HiddenAnnotations)...)
	a := &m.Allowed
	for _, kind := range []struct {
		name string
		keys AllowedKeys
	}{
		{"pods", a.Pods}, {"services", a.Services}, {"secrets", a.Secrets}, {"configMaps", a.ConfigMaps},
		{"persistentVolumeClaims", a.PersistentVolumeClaims}, {"resourceClaims", a.ResourceClaims}, {"endpointSlices", a.EndpointSlices},
	} {
		at := path.Child("allowed", kind.name)
		errs = append(errs, allowed(at.Child("labels"), kind.keys.Labels, m.MovedLabels, "movedLabels")...)
		errs = append(errs, allowed(at.Child("annotations"), kind.keys.Annotations, m.HiddenAnnotations, "hiddenAnnotations")...)
	}
	return errs
}

// allowed refuses entries that allow nothing under any other setting.
func allowed(path *field.Path, entries, held []string, list string) field.ErrorList {
	errs := keys(path, entries)
	for i, entry := range entries {
		switch {
		case strings.HasPrefix(entry, "portico.dev/"):
			errs = append(errs, field.Invalid(path.Index(i), entry, "the prefix portico.dev/ is Portico's own"))
		case slices.Contains(held, entry):
			errs = append(errs, field.Invalid(path.Index(i), entry, "is in metadata."+list+" too, which comes first"))
		}
	}
	return errs
}

// keys refuses entries that no key could match.
func keys(path *field.Path, entries []string) field.ErrorList {
	var errs field.ErrorList
	for i, entry := range entries {
		key := strings.TrimPrefix(entry, "*.")
		switch {
		case strings.HasSuffix(key, "/"):
			key += "x"
		case strings.HasSuffix(key, "*"):
			key = strings.TrimSuffix(key, "*") + "x"
		}
		for _, msg := range validation.IsQualifiedName(key) {
			errs = append(errs, field.Invalid(path.Index(i), entry, "must be a key, or a prefix that ends in / or *: "+msg))
		}
	}
	return errs
}
