// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mvcc

import (
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// Batch evaluates transactions against the tip of an Index, each one seeing the
// effects of the earlier ones of the same batch, and collects the versions that
// must be made durable. Nothing is visible to others before Index.Publish.
type Batch struct {
	index     *Index
	view      View
	rev       int64
	seq       int64
	baseSeq   int64 // of the last published version
	versions  []*Version
	pending   map[string]*Version
	leases    []LeaseChange
	compactTo int64
}

// Begin returns an empty batch on top of the published state.
func (x *Index) Begin() *Batch {
	view, seq := x.View(), x.LastSeq()
	return &Batch{index: x, view: view, rev: view.rev, seq: seq, baseSeq: seq, pending: map[string]*Version{}}
}

// Versions returns the written versions, in the order of Seq.
func (b *Batch) Versions() []*Version { return b.versions }

// Leases returns the changes to leases, in order.
func (b *Batch) Leases() []LeaseChange { return b.leases }

// Compacted returns the new compact revision, or 0 if it does not change.
func (b *Batch) Compacted() int64 { return b.compactTo }

// Empty reports whether there is nothing to make durable.
func (b *Batch) Empty() bool {
	return len(b.versions) == 0 && len(b.leases) == 0 && b.compactTo == 0
}

// Do runs one transaction. If fn returns an error the transaction leaves no
// trace in the batch. Do returns the store's revision after the transaction,
// which is a new one only if the transaction wrote a key.
func (b *Batch) Do(fn func(*Tx) error) (int64, error) {
	t := &Tx{batch: b, firstVersion: len(b.versions), firstLease: len(b.leases), compactBefore: b.compactTo}
	if err := fn(t); err != nil {
		t.rollback()
		return b.rev, err
	}
	if len(b.versions) > t.firstVersion {
		b.rev++
	}
	return b.rev, nil
}

// tip returns the newest version of key, published or pending.
func (b *Batch) tip(key string) *Version {
	if v, ok := b.pending[key]; ok {
		return v
	}
	// The writer's own tree and the last published one have the same keys,
	// and chains are shared, so the head is the tip.
	if it, ok := b.view.state.tree.Get(item{key: key}); ok {
		return it.chain.head.Load()
	}
	return nil
}

// Tx is one transaction of a Batch. It is valid only inside the function given
// to Do.
type Tx struct {
	batch         *Batch
	firstVersion  int
	firstLease    int
	compactBefore int64
}

// Revision returns the revision that the transaction's writes get.
func (t *Tx) Revision() int64 { return t.batch.rev + 1 }

// Get returns the current value of key, or nil.
func (t *Tx) Get(key string) *mvccpb.KeyValue { return t.batch.tip(key).live() }

// Range returns the current values of a range in key order.
func (t *Tx) Range(start, end string) []*mvccpb.KeyValue {
	if end == "" {
		if kv := t.Get(start); kv != nil {
			return []*mvccpb.KeyValue{kv}
		}
		return nil
	}
	var kvs []*mvccpb.KeyValue
	t.batch.view.Ascend(start, end, func(kv *mvccpb.KeyValue) bool {
		if _, ok := t.batch.pending[string(kv.Key)]; !ok {
			kvs = append(kvs, kv)
		}
		return true
	})
	for key, v := range t.batch.pending {
		if kv := v.live(); kv != nil && InRange(key, start, end) {
			kvs = append(kvs, kv)
		}
	}
	slices.SortFunc(kvs, func(a, b *mvccpb.KeyValue) int { return strings.Compare(string(a.Key), string(b.Key)) })
	return kvs
}

// Put writes a value, of which the store becomes the owner, and returns the
// new and the previous key-value. A lease other than 0 must exist.
func (t *Tx) Put(key string, value []byte, lease int64) (kv, prev *mvccpb.KeyValue, err error) {
	if lease != 0 && !t.leaseExists(lease) {
		return nil, nil, rpctypes.ErrLeaseNotFound
	}
	old := t.batch.tip(key)
	rev := t.Revision()
	kv = &mvccpb.KeyValue{CreateRevision: rev, ModRevision: rev, Version: 1, Value: value, Lease: lease}
	if old != nil {
		kv.Key = old.KV.Key // versions of a key share its bytes
	} else {
		kv.Key = []byte(key)
	}
	if prev = old.live(); prev != nil {
		kv.CreateRevision, kv.Version = prev.CreateRevision, prev.Version+1
	}
	t.write(key, &Version{KV: kv}, old)
	return kv, prev, nil
}

// Delete deletes key and returns its last value, or nil if it did not exist.
func (t *Tx) Delete(key string) *mvccpb.KeyValue {
	old := t.batch.tip(key)
	prev := old.live()
	if prev == nil {
		return nil
	}
	t.write(key, &Version{KV: &mvccpb.KeyValue{Key: prev.Key, ModRevision: t.Revision()}, Deleted: true}, old)
	return prev
}

// Compact gives up history up to and including rev.
func (t *Tx) Compact(rev int64) error {
	switch {
	case rev <= max(t.batch.index.compacted.Load(), t.batch.compactTo):
		return rpctypes.ErrCompacted
	case rev > t.batch.view.rev:
		// Only published revisions can be compacted.
		return rpctypes.ErrFutureRev
	}
	t.batch.compactTo = rev
	return nil
}

func (t *Tx) write(key string, v, old *Version) {
	b := t.batch
	b.seq++
	v.Seq = b.seq
	v.prev.Store(old)
	b.versions = append(b.versions, v)
	b.pending[key] = v
}

func (t *Tx) rollback() {
	b := t.batch
	for i := len(b.versions) - 1; i >= t.firstVersion; i-- {
		v := b.versions[i]
		key, old := v.key(), v.prev.Load()
		if old != nil && old.Seq > b.baseSeq {
			b.pending[key] = old
		} else {
			delete(b.pending, key)
		}
		b.seq--
	}
	clear(b.versions[t.firstVersion:])
	b.versions = b.versions[:t.firstVersion]
	b.leases = b.leases[:t.firstLease]
	b.compactTo = t.compactBefore
}
