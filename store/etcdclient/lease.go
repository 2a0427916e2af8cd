// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package etcdclient

import (
	"context"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"portico.dev/portico/store/mvcc"
)

// maxTTL is etcd's own limit, in seconds.
const maxTTL = 9_000_000_000

// lease implements clientv3.Lease. Upstream only grants leases, for the time
// to live of events.
type lease struct {
	engine Engine
}

var _ clientv3.Lease = (*lease)(nil)

func (l *lease) Grant(ctx context.Context, ttl int64) (*clientv3.LeaseGrantResponse, error) {
	if ttl > maxTTL {
		return nil, rpctypes.ErrLeaseTTLTooLarge
	}
	ttl = max(ttl, 1)
	id := rand.Int64N(1<<62) + 1 //nolint:gosec // An id that is free, not a secret.
	length := time.Duration(min(ttl, int64(1<<63-1)/int64(time.Second))) * time.Second
	rev, err := l.engine.Update(ctx, func(t *mvcc.Tx) error {
		return t.Grant(id, length, time.Now().Add(length))
	})
	if err != nil {
		return nil, err
	}
	return &clientv3.LeaseGrantResponse{ResponseHeader: header(rev), ID: clientv3.LeaseID(id), TTL: ttl}, nil
}

func (l *lease) Revoke(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseRevokeResponse, error) {
	rev, err := l.engine.Update(ctx, func(t *mvcc.Tx) error {
		_, err := t.Revoke(int64(id), 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &clientv3.LeaseRevokeResponse{Header: header(rev)}, nil
}

func (l *lease) TimeToLive(ctx context.Context, id clientv3.LeaseID, _ ...clientv3.LeaseOption) (*clientv3.LeaseTimeToLiveResponse, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	resp := &clientv3.LeaseTimeToLiveResponse{ResponseHeader: header(l.engine.Index().Revision()), ID: id, TTL: -1}
	state, ok := l.engine.Index().Lease(int64(id))
	if !ok {
		return resp, nil
	}
	resp.TTL = int64(max(time.Until(state.Expires), 0) / time.Second)
	resp.GrantedTTL = int64(state.TTL / time.Second)
	// The option that asks for keys cannot be read from outside its package,
	// so they are always given.
	for _, key := range state.Keys {
		resp.Keys = append(resp.Keys, []byte(key))
	}
	return resp, nil
}

func (l *lease) Leases(ctx context.Context) (*clientv3.LeaseLeasesResponse, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	resp := &clientv3.LeaseLeasesResponse{ResponseHeader: header(l.engine.Index().Revision())}
	for _, id := range l.engine.Index().Leases() {
		resp.Leases = append(resp.Leases, clientv3.LeaseStatus{ID: clientv3.LeaseID(id)})
	}
	return resp, nil
}

// KeepAlive renews a lease at a third of its length until ctx ends or the lease
// is gone.
func (l *lease) KeepAlive(ctx context.Context, id clientv3.LeaseID) (<-chan *clientv3.LeaseKeepAliveResponse, error) {
	first, err := l.KeepAliveOnce(ctx, id)
	if err != nil {
		return nil, err
	}
	responses := make(chan *clientv3.LeaseKeepAliveResponse, 1)
	responses <- first
	go func() {
		defer close(responses)
		ticker := time.NewTicker(time.Duration(first.TTL) * time.Second / 3)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			resp, err := l.KeepAliveOnce(ctx, id)
			if err != nil {
				return
			}
			select {
			case responses <- resp:
			default: // they are not read; the lease is kept all the same
			}
		}
	}()
	return responses, nil
}

func (l *lease) KeepAliveOnce(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseKeepAliveResponse, error) {
	state, ok := l.engine.Index().Lease(int64(id))
	if !ok {
		return nil, rpctypes.ErrLeaseNotFound
	}
	rev, err := l.engine.Update(ctx, func(t *mvcc.Tx) error {
		return t.Renew(int64(id), state.TTL, time.Now().Add(state.TTL))
	})
	if err != nil {
		return nil, err
	}
	return &clientv3.LeaseKeepAliveResponse{ResponseHeader: header(rev), ID: id, TTL: int64(state.TTL / time.Second)}, nil
}

// Close does nothing: leases belong to the store.
func (l *lease) Close() error { return nil }
