// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"time"

	"k8s.io/klog/v2"

	"portico.dev/portico/store/mvcc"
)

const (
	// leaseInterval is how often leases are looked at; a lease ends up to
	// this much late, as with etcd.
	leaseInterval = 500 * time.Millisecond
	// revokeChunk is how many keys one transaction of an expiry deletes.
	revokeChunk = 256
)

// leaseLoop deletes the keys of leases whose time is over. The end of a lease
// is wall time, kept on disk: a restart neither prolongs it nor, for keys that
// expired meanwhile, forgets it.
func (e *Engine) leaseLoop(ctx context.Context) {
	ticker := time.NewTicker(leaseInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for _, id := range e.index.ExpiredLeases(now) {
				if err := e.expire(ctx, id, now); err != nil && ctx.Err() == nil {
					// Tried again at the next tick.
					klog.FromContext(ctx).V(2).Info("Lease could not be ended", "lease", id, "err", err)
				}
			}
		}
	}
}

// expire deletes a lease and its keys. It may have been renewed since it was
// found to be over.
func (e *Engine) expire(ctx context.Context, id int64, now time.Time) error {
	for gone := false; !gone; {
		_, err := e.Update(ctx, func(t *mvcc.Tx) (err error) {
			if !t.LeaseExpired(id, now) {
				gone = true
				return nil
			}
			gone, err = t.Revoke(id, revokeChunk)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// progressLoop keeps quiet watches informed of the revision they are at.
func (e *Engine) progressLoop(ctx context.Context) {
	ticker := time.NewTicker(e.options.ProgressInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			e.index.ProgressTick()
		}
	}
}
