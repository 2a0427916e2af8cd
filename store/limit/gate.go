// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"context"
	"sync/atomic"

	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"
)

// smallGrowth is by how much an update may grow beyond the limit: enough for the
// marks of a deletion and the conditions of a status.
const smallGrowth = 1 << 10

// gate is the interface through which upstream's etcd3 storage writes.
// Deletions pass as they are.
type gate struct {
	etcdk8s.Interface
	options Options
	most    int64        // with the reserve
	coming  atomic.Int64 // bytes of writes that are on their way
}

// OptimisticPut implements kubernetes.Interface. Far from the limit it costs two
// additions.
func (g *gate) OptimisticPut(ctx context.Context, key string, value []byte, expected int64, opts etcdk8s.PutOptions) (etcdk8s.PutResponse, error) {
	size := int64(len(key) + len(value))
	coming := g.coming.Add(size)
	defer g.coming.Add(-size)
	used, known := g.options.Meter.Used()
	if known && used+coming > g.options.Bytes {
		if err := g.admit(ctx, used+coming-size, key, size, expected); err != nil {
			return etcdk8s.PutResponse{}, err
		}
	}
	return g.Interface.OptimisticPut(ctx, key, value, expected, opts)
}

// admit decides about a write that would be too much if its key were new. others
// are the bytes without it.
func (g *gate) admit(ctx context.Context, others int64, key string, size, expected int64) error {
	growth := size
	if expected != 0 {
		resp, err := g.Get(ctx, key, etcdk8s.GetOptions{})
		if err != nil {
			return err
		}
		if resp.KV == nil || resp.KV.ModRevision != expected {
			return nil // it will fail, and say why
		}
		growth -= int64(len(resp.KV.Key) + len(resp.KV.Value))
	}
	most := g.options.Bytes
	if expected != 0 && growth <= smallGrowth || g.options.Essential != nil && g.options.Essential(ctx) {
		most = g.most
	}
	if growth <= 0 || others+growth <= most {
		return nil
	}
	if g.options.Refused != nil {
		g.options.Refused()
	}
	return &FullError{Used: others, Limit: g.options.Bytes}
}
