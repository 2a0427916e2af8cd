// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"

	etcdmetrics "k8s.io/apiserver/pkg/storage/etcd3/metrics"

	"portico.dev/portico/store"
	"portico.dev/portico/store/limit"
)

// measureStore replaces upstream's measurement of the store's size, which dials
// an etcd for 20 seconds while everyone who asks for metrics waits.
func measureStore(backend store.Backend) {
	meter, _ := backend.(limit.Meter)
	etcdmetrics.SetStorageMonitorGetter(func() ([]etcdmetrics.Monitor, error) {
		if meter == nil {
			return nil, nil
		}
		if bytes, known := meter.Used(); known {
			return []etcdmetrics.Monitor{storeSize(bytes)}, nil
		}
		return nil, nil
	})
}

// storeSize is the number of bytes in the store.
type storeSize int64

// Monitor implements etcdmetrics.Monitor.
func (s storeSize) Monitor(context.Context) (etcdmetrics.StorageMetrics, error) {
	return etcdmetrics.StorageMetrics{Size: int64(s)}, nil
}

// Close implements etcdmetrics.Monitor.
func (storeSize) Close() error { return nil }
