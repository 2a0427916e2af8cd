// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package fairshare

import (
	"sync"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

// Values of the labels.
const (
	classTenant, classSystem      = "tenant", "system"
	refusedRequest, refusedStream = "request", "stream"
)

var (
	delayed = metrics.NewCounterVec(&metrics.CounterOpts{
		Namespace: "portico", Subsystem: "host", Name: "delayed_requests_total", StabilityLevel: metrics.ALPHA,
		Help: "Requests to the host that waited for the rate limit (host.qps), by whether a tenant or Portico itself made them.",
	}, []string{"class"})
	refused = metrics.NewCounterVec(&metrics.CounterOpts{
		Namespace: "portico", Subsystem: "host", Name: "refused_total", StabilityLevel: metrics.ALPHA,
		Help: "Requests of tenants (host.qps) and streams (host.maxStreams) that were refused because too many were there.",
	}, []string{"what"})

	// All labels are counted from zero: an alert on an increase does not see one
	// from nothing to one.
	registerMetrics = sync.OnceFunc(func() {
		legacyregistry.MustRegister(delayed, refused)
		for _, class := range []string{classTenant, classSystem} {
			delayed.WithLabelValues(class)
		}
		for _, what := range []string{refusedRequest, refusedStream} {
			refused.WithLabelValues(what)
		}
	})
)
