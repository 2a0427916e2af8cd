// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package hooks

import (
	"sync"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

// Results of a review, as a label.
const (
	resultTaken    = "taken"
	resultChanged  = "changed"
	resultDenied   = "denied"
	resultFailed   = "failed"
	resultIgnored  = "ignored"
	resultUnlawful = "unlawful"
)

// The label "hook" is a name of the configuration, so it is bounded.
var (
	reviews = metrics.NewCounterVec(&metrics.CounterOpts{
		Namespace: "portico", Subsystem: "hook", Name: "reviews_total", StabilityLevel: metrics.ALPHA,
		Help: "Reviews by hooks of the operator, by result: taken, changed, denied, failed, ignored, or unlawful.",
	}, []string{"hook", "result"})
	reviewSeconds = metrics.NewHistogramVec(&metrics.HistogramOpts{
		Namespace: "portico", Subsystem: "hook", Name: "review_duration_seconds", StabilityLevel: metrics.ALPHA,
		Help:    "Seconds from a review to its answer, or its failure.",
		Buckets: metrics.ExponentialBuckets(0.001, 2, 14),
	}, []string{"hook"})

	registerMetrics = sync.OnceFunc(func() { legacyregistry.MustRegister(reviews, reviewSeconds) })
)

func resultOf(before, after runtime.Object) string {
	if apiequality.Semantic.DeepEqual(before, after) {
		return resultTaken
	}
	return resultChanged
}
