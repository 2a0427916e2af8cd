// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import "k8s.io/apimachinery/pkg/util/validation/field"

// highestPriority is what the API allows a class that is not the system's
// (HighestUserDefinablePriority in pkg/apis/scheduling).
const highestPriority = 1_000_000_000

// ToHost chooses what cluster-scoped objects of the tenant's the host gets.
type ToHost struct {
	PriorityClasses ToHostPriorityClasses `json:"priorityClasses"`
}

// ToHostPriorityClasses lets pods have the tenant's own classes on the host.
type ToHostPriorityClasses struct {
	Enabled bool `json:"enabled"`
	// MaxValue is the highest value that a class has on the host: a higher one
	// is pushed with this.
	MaxValue int32 `json:"maxValue"`
}

func (p *ToHostPriorityClasses) validate(path *field.Path) field.ErrorList {
	if p.MaxValue > highestPriority {
		return field.ErrorList{field.Invalid(path.Child("maxValue"), p.MaxValue, "must not be above 1000000000: what is higher is the system's")}
	}
	return nil
}
