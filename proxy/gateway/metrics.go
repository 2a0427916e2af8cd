// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"sync"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
)

// The ways of a connection.
const (
	wayNone    = "none" // refused before it was known
	wayName    = "sni"
	wayConnect = "connect"
)

// How connections fare.
const (
	resultLed          = "led"
	resultTooMany      = "too_many"
	resultMalformed    = "malformed"
	resultUnknown      = "unknown"
	resultSilent       = "silent"
	resultUnauthorized = "unauthorized"
	resultForbidden    = "forbidden"
	resultAsleep       = "asleep" // paused, or not awake in time
)

var (
	connections = metrics.NewGauge(&metrics.GaugeOpts{
		Namespace: "portico", Subsystem: "gateway", Name: "open_connections", StabilityLevel: metrics.ALPHA,
		Help: "Connections of clients that are open.",
	})
	handled = metrics.NewCounterVec(&metrics.CounterOpts{
		Namespace: "portico", Subsystem: "gateway", Name: "connections_total", StabilityLevel: metrics.ALPHA,
		Help: "Connections of clients by the way in which they named a cluster, and by whether they were led to it.",
	}, []string{"way", "result"})

	woken = metrics.NewCounterVec(&metrics.CounterOpts{
		Namespace: "portico", Subsystem: "gateway", Name: "wakes_total", StabilityLevel: metrics.ALPHA,
		Help: "Virtual clusters that were woken, by the reason: a connection, or the time of their own work.",
	}, []string{"reason"})

	registerMetrics = sync.OnceFunc(func() { legacyregistry.MustRegister(connections, handled, woken) })
)

func count(way, result string) { handled.WithLabelValues(way, result).Inc() }
