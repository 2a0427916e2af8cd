// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

// The label "resource" is one of the translated resources, so it is bounded.
var (
	unreadableObjects = metrics.NewCounterVec(&metrics.CounterOpts{
		Namespace:      "portico",
		Subsystem:      "host",
		Name:           "unreadable_objects_total",
		Help:           "Host objects in this cluster's scope that could not be shown to the tenant and were skipped.",
		StabilityLevel: metrics.ALPHA,
	}, []string{"resource"})
	corruptOverlays = metrics.NewCounterVec(&metrics.CounterOpts{
		Namespace:      "portico",
		Subsystem:      "host",
		Name:           "corrupt_overlays_total",
		Help:           "Host objects whose overlay annotation could not be read.",
		StabilityLevel: metrics.ALPHA,
	}, []string{"resource"})
	watchLosses = metrics.NewCounterVec(&metrics.CounterOpts{
		Namespace:      "portico",
		Subsystem:      "host",
		Name:           "watch_losses_total",
		Help:           "Times that a host watch was lost and could not be resumed at once.",
		StabilityLevel: metrics.ALPHA,
	}, []string{"resource"})
)

func init() {
	legacyregistry.MustRegister(unreadableObjects, corruptOverlays, watchLosses)
}
