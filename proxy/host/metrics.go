// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

	hostCalls = metrics.NewCounterVec(&metrics.CounterOpts{
		Namespace: "portico", Subsystem: "host", Name: "requests_total", StabilityLevel: metrics.ALPHA,
		Help: "Requests to the host for tenants, streams apart, by the code of the answer; \"200\" stands for every success, and \"none\" for no answer.",
	}, []string{"verb", "resource", "code"})
	hostCallSeconds = metrics.NewHistogramVec(&metrics.HistogramOpts{
		Namespace: "portico", Subsystem: "host", Name: "request_duration_seconds", StabilityLevel: metrics.ALPHA,
		Help:    "Seconds from a request to the host until its answer, the wait for host.qps included. The rest of a tenant's request is Portico's own time.",
		Buckets: metrics.ExponentialBuckets(0.001, 2, 15),
	}, []string{"verb", "resource"})

	registerMetrics = sync.OnceFunc(func() {
		legacyregistry.MustRegister(unreadableObjects, corruptOverlays, watchLosses, hostCalls, hostCallSeconds)
	})
)

// countFromZero lets the counters of a resource begin: an alert on an increase
// does not see one from nothing to one.
func countFromZero(resource string) {
	registerMetrics()
	for _, c := range []*metrics.CounterVec{unreadableObjects, corruptOverlays, watchLosses} {
		c.WithLabelValues(resource)
	}
}

// codeOf is the code of the host's answer, as a label. The client does not tell
// one success from another, so a creation counts as 200 as well.
func codeOf(err error) string {
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return "200"
	case errors.As(err, &status):
		return strconv.Itoa(int(status.Status().Code))
	default:
		return "none"
	}
}

func newCounter(name, help string) *metrics.CounterVec {
	return metrics.NewCounterVec(&metrics.CounterOpts{
		Namespace: "portico", Subsystem: "host", Name: name, Help: help, StabilityLevel: metrics.ALPHA,
	}, []string{"resource"})
}
