// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mvcc

import (
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// LeaseChange is a lease granted, renewed or, if Removed, gone. Keys of a
// removed lease are deleted by the same transaction.
type LeaseChange struct {
	ID      int64
	TTL     time.Duration
	Expires time.Time
	Removed bool
}

// Lease is the state of a lease.
type Lease struct {
	ID      int64
	TTL     time.Duration
	Expires time.Time
	Keys    []string
}

type leaseTable struct {
	byID map[int64]*leaseState
}

type leaseState struct {
	ttl     time.Duration
	expires time.Time
	keys    map[string]struct{}
}

func newLeaseTable() leaseTable { return leaseTable{byID: map[int64]*leaseState{}} }

func (t *leaseTable) apply(c LeaseChange) {
	if c.Removed {
		delete(t.byID, c.ID)
		return
	}
	l := t.byID[c.ID]
	if l == nil {
		l = &leaseState{keys: map[string]struct{}{}}
		t.byID[c.ID] = l
	}
	l.ttl, l.expires = c.TTL, c.Expires
}

// move re-attaches key from the lease of its old value to that of v.
func (t *leaseTable) move(key string, old *mvccpb.KeyValue, v *Version) {
	if old != nil && old.Lease != 0 && old.Lease != v.KV.Lease {
		if l := t.byID[old.Lease]; l != nil {
			delete(l.keys, key)
		}
	}
	if !v.Deleted && v.KV.Lease != 0 {
		if l := t.byID[v.KV.Lease]; l != nil {
			l.keys[key] = struct{}{}
		}
	}
}

// Lease returns the state of a lease, and false if it does not exist.
func (x *Index) Lease(id int64) (Lease, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	l := x.leases.byID[id]
	if l == nil {
		return Lease{}, false
	}
	out := Lease{ID: id, TTL: l.ttl, Expires: l.expires, Keys: make([]string, 0, len(l.keys))}
	for key := range l.keys {
		out.Keys = append(out.Keys, key)
	}
	return out, true
}

// Leases returns the ids of all leases.
func (x *Index) Leases() []int64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	ids := make([]int64, 0, len(x.leases.byID))
	for id := range x.leases.byID {
		ids = append(ids, id)
	}
	return ids
}

// ExpiredLeases returns the ids of the leases that ended before now. There are
// few leases (upstream shares one among up to a thousand events), so this is a
// plain scan.
func (x *Index) ExpiredLeases(now time.Time) []int64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var ids []int64
	for id, l := range x.leases.byID {
		if !l.expires.After(now) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Grant creates a lease.
func (t *Tx) Grant(id int64, ttl time.Duration, expires time.Time) error {
	if t.leaseExists(id) {
		return rpctypes.ErrLeaseExist
	}
	t.batch.leases = append(t.batch.leases, LeaseChange{ID: id, TTL: ttl, Expires: expires})
	return nil
}

// Renew moves the end of a lease.
func (t *Tx) Renew(id int64, ttl time.Duration, expires time.Time) error {
	if !t.leaseExists(id) {
		return rpctypes.ErrLeaseNotFound
	}
	t.batch.leases = append(t.batch.leases, LeaseChange{ID: id, TTL: ttl, Expires: expires})
	return nil
}

// Revoke deletes up to limit keys of a lease, 0 meaning all, and the lease
// itself if no key is left. It reports whether the lease is gone.
func (t *Tx) Revoke(id int64, limit int) (gone bool, err error) {
	if !t.leaseExists(id) {
		return true, rpctypes.ErrLeaseNotFound
	}
	keys := t.leaseKeys(id)
	gone = limit <= 0 || len(keys) <= limit
	if !gone {
		keys = keys[:limit]
	}
	for _, key := range keys {
		t.Delete(key)
	}
	if gone {
		t.batch.leases = append(t.batch.leases, LeaseChange{ID: id, Removed: true})
	}
	return gone, nil
}

func (t *Tx) leaseExists(id int64) bool {
	for i := len(t.batch.leases) - 1; i >= 0; i-- {
		if c := t.batch.leases[i]; c.ID == id {
			return !c.Removed
		}
	}
	x := t.batch.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.leases.byID[id] != nil
}

// leaseKeys returns the keys attached to a lease at the tip.
func (t *Tx) leaseKeys(id int64) []string {
	var keys []string
	if l, ok := t.batch.index.Lease(id); ok {
		for _, key := range l.Keys {
			if _, changed := t.batch.pending[key]; !changed {
				keys = append(keys, key)
			}
		}
	}
	for key, v := range t.batch.pending {
		if kv := v.live(); kv != nil && kv.Lease == id {
			keys = append(keys, key)
		}
	}
	return keys
}

// LeaseExpired reports whether a lease exists and ended before now, seen from
// the tip.
func (t *Tx) LeaseExpired(id int64, now time.Time) bool {
	for i := len(t.batch.leases) - 1; i >= 0; i-- {
		if c := t.batch.leases[i]; c.ID == id {
			return !c.Removed && !c.Expires.After(now)
		}
	}
	l, ok := t.batch.index.Lease(id)
	return ok && !l.Expires.After(now)
}
