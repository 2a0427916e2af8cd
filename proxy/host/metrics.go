// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"sync"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

// The label "resource" is one of the translated resources, so it is bounded.
var (
	unreadableObjects = newCounter("unreadable_objects_total",
		"Host objects in this cluster's scope that could not be shown to the tenant and were skipped.")
	corruptOverlays = newCounter("corrupt_overlays_total",
		"Host objects whose overlay annotation could not be read.")
	watchLosses = newCounter("watch_losses_total",
		"Times that a host watch was lost and could not be resumed at once.")

	registerMetrics = sync.OnceFunc(func() {
		legacyregistry.MustRegister(unreadableObjects, corruptOverlays, watchLosses)
	})
)

func newCounter(name, help string) *metrics.CounterVec {
	return metrics.NewCounterVec(&metrics.CounterOpts{
		Namespace: "portico", Subsystem: "host", Name: name, Help: help, StabilityLevel: metrics.ALPHA,
	}, []string{"resource"})
}
