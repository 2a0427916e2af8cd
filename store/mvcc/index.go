// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mvcc

import (
	"sync"
	"sync/atomic"

	"github.com/google/btree"
)

// FirstRevision is the revision of an empty store. The first write gets the
// next one.
const FirstRevision = 1

// treeDegree makes nodes of up to 63 items: about 1.5 KiB, which keeps the
// path that a new key copies to a few KiB.
const treeDegree = 32

// Index is the in-memory state of a store. The package documentation says which
// goroutine may call which method.
type Index struct {
	// state is read by readers. It is replaced as a whole.
	state     atomic.Pointer[state]
	compacted atomic.Int64
	sizes     sizes

	// mu guards everything below. It is held for short, bounded work only.
	mu       sync.RWMutex
	tree     *btree.BTreeG[item] // the writer's tree; readers have clones
	log      []*Version          // changes after the compact revision, by Seq
	lastSeq  int64
	watchers watchTable
	prefixes prefixTable
	leases   leaseTable
	closed   bool
}

// state is an immutable picture of the store. The tree is only ever read; the
// chains in it grow, but versions newer than rev are not for its readers.
type state struct {
	tree *btree.BTreeG[item]
	rev  int64
}

// New returns an empty index.
func New() *Index {
	x := &Index{
		tree:     btree.NewG(treeDegree, lessItem),
		watchers: newWatchTable(),
		leases:   newLeaseTable(),
	}
	x.prefixes.init()
	x.state.Store(&state{tree: x.tree.Clone(), rev: FirstRevision})
	return x
}

// Revision returns the last published revision.
func (x *Index) Revision() int64 { return x.state.Load().rev }

// CompactRevision returns the revision up to which history was given up.
func (x *Index) CompactRevision() int64 { return x.compacted.Load() }

// LastSeq returns the sequence number of the last published version.
func (x *Index) LastSeq() int64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.lastSeq
}

// Close ends all watches. Reads keep working.
func (x *Index) Close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	x.watchers.closeAll()
}

// Publish makes a durable batch visible: first to readers, then to watchers.
// The caller must have made b.Versions, b.Leases and b.Compacted durable.
func (x *Index) Publish(b *Batch) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if b.compactTo > x.compacted.Load() {
		// Before anything is cut, so that View.Err sees it in time.
		x.compacted.Store(b.compactTo)
	}
	for _, c := range b.leases {
		x.leases.apply(c)
	}
	if len(b.versions) == 0 {
		return
	}
	grown := false
	for _, v := range b.versions {
		grown = x.insert(v) || grown
	}
	x.log = append(x.log, b.versions...)
	x.lastSeq = b.versions[len(b.versions)-1].Seq

	next := &state{tree: x.state.Load().tree, rev: b.rev}
	if grown {
		next.tree = x.tree.Clone()
	}
	x.state.Store(next)
	x.prefixes.advance(b.versions)
	x.watchers.notify(b.versions)
}

// insert links v into its key's chain and reports whether the key is new to
// the tree.
// REQUIRES: mu held.
func (x *Index) insert(v *Version) bool {
	key := v.key()
	old := v.prev.Load()
	x.sizes.written(v, old)
	x.leases.move(key, old.live(), v)
	if it, ok := x.tree.Get(item{key: key}); ok {
		it.chain.head.Store(v)
		return false
	}
	c := &chain{}
	c.head.Store(v)
	x.tree.ReplaceOrInsert(item{key: key, chain: c})
	return true
}
