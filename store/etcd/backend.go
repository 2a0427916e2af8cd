// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"

	"portico.dev/portico/store"
)

// Backend is a store.Backend on a shared etcd.
type Backend struct {
	options   Options
	client    *etcdk8s.Client
	compacted atomic.Int64
	health    health

	stop    context.CancelFunc
	working sync.WaitGroup
}

var _ store.Backend = (*Backend)(nil)

// Open connects to an etcd and waits until it answers. A fault that waiting
// would not change, such as a wrong password, is an error at once. The backend
// outlives ctx, which only bounds the waiting.
func Open(ctx context.Context, o Options) (*Backend, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	client, err := etcdk8s.New(o.client())
	if err != nil {
		return nil, o.openError(err)
	}
	b := &Backend{options: o, client: client}
	client.KV = &noting{KV: client.KV, compacted: b.noteCompacted}
	if err := b.waitAnswering(ctx); err != nil {
		return nil, errors.Join(o.openError(err), client.Close())
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stop = stop
	b.working.Go(func() { b.watchHealth(background) })
	if o.Retention > 0 {
		c := compaction{kv: client.KV, key: o.CompactionKey, noted: b.noteCompacted}
		b.working.Go(func() { c.run(background, o.Retention) })
	}
	return b, nil
}

// openError adds the etcd's address to an error, and never the credentials.
func (o Options) openError(err error) error {
	err = fmt.Errorf("etcd at %s: %w", strings.Join(o.Endpoints, ", "), err)
	if errors.Is(err, rpctypes.ErrAuthFailed) || errors.Is(err, rpctypes.ErrPermissionDenied) || errors.Is(err, rpctypes.ErrUserEmpty) {
		return fmt.Errorf("%w: %w", store.ErrDenied, err)
	}
	return err
}

// Client implements store.Backend.
func (b *Backend) Client() *etcdk8s.Client { return b.client }

// CompactRevision implements store.Backend. It may lag behind the compactions
// of others by the retention.
func (b *Backend) CompactRevision() int64 { return b.compacted.Load() }

// Ready implements store.Backend.
func (b *Backend) Ready() error { return b.health.get() }

// Close implements store.Backend.
func (b *Backend) Close() error {
	b.stop()
	b.working.Wait()
	b.health.set(store.ErrClosed)
	if err := b.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close etcd client: %w", err)
	}
	return nil
}

func (b *Backend) noteCompacted(rev int64) {
	for {
		at := b.compacted.Load()
		if rev <= at || b.compacted.CompareAndSwap(at, rev) {
			return
		}
	}
}

// noting is a KV that reports the revision to which it compacted.
type noting struct {
	clientv3.KV
	compacted func(rev int64)
}

func (n *noting) Compact(ctx context.Context, rev int64, options ...clientv3.CompactOption) (*clientv3.CompactResponse, error) {
	resp, err := n.KV.Compact(ctx, rev, options...)
	if err == nil {
		n.compacted(rev)
	}
	return resp, err
}
