// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"

	"portico.dev/portico/store"
	"portico.dev/portico/store/limit"
)

// limited opens a store that keeps so many bytes at most; 0 means no limit. In a
// shared store only those below the prefix are counted.
func limited(open storeOpener, bytes int64, prefix string) storeOpener {
	if bytes == 0 {
		return open
	}
	return func(ctx context.Context) (store.Backend, error) {
		backend, err := open(ctx)
		if err != nil {
			return nil, err
		}
		refused := metrics.NewCounter(&metrics.CounterOpts{
			Namespace: "portico", Subsystem: "store", Name: "refused_writes_total", StabilityLevel: metrics.ALPHA,
			Help: "Writes that were refused because the store has no room for them (store.maxSize).",
		})
		o := limit.Options{Bytes: bytes, Prefix: prefix + "/", Essential: isEssential, Refused: refused.Inc}
		o.Meter, _ = backend.(limit.Meter)
		backend = limit.New(ctx, backend, o)
		if meter, ok := backend.(limit.Meter); ok {
			// The registry is the process's, which has one store; only tests open a
			// second one, and see the first.
			_ = legacyregistry.Register(refused)
			_ = legacyregistry.CustomRegister(&storeBytes{meter: meter, limit: bytes})
		}
		return backend, nil
	}
}

// isEssential reports whether a write is of the API server itself or of a
// program in kube-system: those go on in a full store.
func isEssential(ctx context.Context) bool {
	who, ok := request.UserFrom(ctx)
	return !ok || who.GetName() == user.APIServerUser || slices.Contains(who.GetGroups(), kubeSystemAccounts)
}

var kubeSystemAccounts = serviceaccount.MakeNamespaceGroupName(metav1.NamespaceSystem)

// storeBytes are the gauges of a store with a limit, read when they are asked
// for.
type storeBytes struct {
	metrics.BaseStableCollector
	meter limit.Meter
	limit int64
}

var (
	storeUsedDesc = metrics.NewDesc("portico_store_used_bytes",
		"Bytes of all keys of the cluster's own store and their present values.", nil, nil, metrics.ALPHA, "")
	storeLimitDesc = metrics.NewDesc("portico_store_limit_bytes",
		"Bytes that the cluster's own store can keep (store.maxSize).", nil, nil, metrics.ALPHA, "")
)

// DescribeWithStability implements metrics.StableCollector.
func (s *storeBytes) DescribeWithStability(ch chan<- *metrics.Desc) {
	ch <- storeUsedDesc
	ch <- storeLimitDesc
}

// CollectWithStability implements metrics.StableCollector.
func (s *storeBytes) CollectWithStability(ch chan<- metrics.Metric) {
	if used, known := s.meter.Used(); known {
		ch <- metrics.NewLazyConstMetric(storeUsedDesc, metrics.GaugeValue, float64(used))
	}
	ch <- metrics.NewLazyConstMetric(storeLimitDesc, metrics.GaugeValue, float64(s.limit))
}
