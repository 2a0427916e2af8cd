// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package ownvolumes

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/kinds"
)

// Limits are the bounds that the operator sets to the tenant's volumes.
type Limits struct {
	// Drivers are those that volumes may have: rewrite.PersistentVolumeProblems.
	Drivers []string
}

// Problems lists the parts of a volume that the host must not get.
func (l Limits) Problems(v *corev1.PersistentVolume) field.ErrorList {
	return rewrite.PersistentVolumeProblems(v, l.Drivers)
}

// Judge refuses a tenant's write of a volume that could do on the host more than the
// operator has allowed. A part of before, which has not changed, stays.
func (l Limits) Judge(before, after *corev1.PersistentVolume) error {
	if after == nil || kinds.IsHostVolume(after) {
		return nil
	}
	was := map[string]bool{}
	if before != nil {
		for _, p := range l.Problems(before) {
			was[p.Error()] = true
		}
	}
	for _, p := range l.Problems(after) {
		if !was[p.Error()] {
			return p
		}
	}
	return nil
}
