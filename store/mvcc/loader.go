// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mvcc

import (
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// Loader rebuilds an Index from its durable log. It refuses a log that this
// package cannot have written: rows missing from the retained history, rows out
// of order, versions that do not follow from each other.
type Loader struct {
	index   *Index
	rev     int64
	garbage []int64
}

// NewLoader starts from an empty index whose history before compactRevision is
// incomplete.
func NewLoader(compactRevision int64) *Loader {
	x := New()
	x.compacted.Store(compactRevision)
	return &Loader{index: x, rev: FirstRevision}
}

// AddLease adds a lease. Leases come before the keys that are attached to them.
func (l *Loader) AddLease(c LeaseChange) { l.index.leases.apply(c) }

// Add adds the next version. A deletion has Version 0.
func (l *Loader) Add(seq int64, kv *mvccpb.KeyValue) error {
	x := l.index
	compacted := x.compacted.Load()
	v := &Version{KV: kv, Seq: seq, Deleted: kv.Version == 0}
	it, known := x.tree.Get(item{key: v.key()})
	var old *Version
	if known {
		old = it.chain.head.Load()
		kv.Key = old.KV.Key
	}
	if err := l.check(v, old); err != nil {
		return fmt.Errorf("change %d (revision %d, key %q): %w", seq, kv.ModRevision, kv.Key, err)
	}
	x.leases.move(v.key(), old.live(), v)
	x.sizes.written(v, old)
	l.rev, x.lastSeq = kv.ModRevision, seq
	if kv.ModRevision > compacted {
		v.prev.Store(old)
		x.log = append(x.log, v)
	} else {
		// A sweep before the restart had not come to these.
		if old != nil {
			l.garbage = append(l.garbage, old.Seq)
			x.sizes.forgotten(old)
		}
		if v.Deleted {
			l.garbage = append(l.garbage, seq)
			x.sizes.forgotten(v)
			x.tree.Delete(item{key: v.key()})
			return nil
		}
	}
	if known {
		it.chain.head.Store(v)
		return nil
	}
	c := &chain{}
	c.head.Store(v)
	x.tree.ReplaceOrInsert(item{key: v.key(), chain: c})
	return nil
}

// Finish returns the index and the sequence numbers of rows that a compaction
// before the restart has made garbage.
func (l *Loader) Finish() (x *Index, garbage []int64) {
	x = l.index
	// Compaction may have removed the newest rows: deletions.
	rev := max(l.rev, x.compacted.Load())
	x.state.Store(&state{tree: x.tree.Clone(), rev: rev})
	return x, l.garbage
}

// check returns an error if v cannot follow the rows so far.
func (l *Loader) check(v, old *Version) error {
	kv := v.KV
	compacted := l.index.compacted.Load()
	switch {
	case v.Seq <= l.index.lastSeq:
		return fmt.Errorf("sequence does not grow after %d", l.index.lastSeq)
	case kv.ModRevision < l.rev:
		return fmt.Errorf("revision is lower than %d before it", l.rev)
	case len(kv.Key) == 0:
		return fmt.Errorf("empty key")
	case kv.ModRevision <= compacted:
		return nil // earlier rows may be gone
	case kv.ModRevision > max(l.rev, compacted, FirstRevision)+1:
		return fmt.Errorf("revisions are missing before it, after %d", max(l.rev, compacted))
	}
	prev := old.live()
	switch {
	case v.Deleted && prev == nil:
		return fmt.Errorf("deletes a key that does not exist")
	case v.Deleted:
		return nil
	case prev == nil && (kv.Version != 1 || kv.CreateRevision != kv.ModRevision):
		return fmt.Errorf("updates a key that does not exist")
	case prev != nil && (kv.Version != prev.Version+1 || kv.CreateRevision != prev.CreateRevision):
		return fmt.Errorf("does not follow version %d of its key", prev.Version)
	}
	return nil
}
