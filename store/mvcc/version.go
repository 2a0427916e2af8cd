// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mvcc

import (
	"sync/atomic"
	"unsafe"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// Version is one version of one key: a value or, if Deleted, its end.
type Version struct {
	// KV is handed to readers. It is shared and must not be modified. For a
	// deletion it holds only the key and the revision of the deletion, which is
	// the shape etcd gives to delete events.
	KV *mvccpb.KeyValue
	// Seq numbers versions across the whole store, without gaps when they are
	// written. A transaction may write several versions at one revision.
	Seq int64
	// Deleted marks the end of the key.
	Deleted bool

	prev atomic.Pointer[Version]
}

// Revision returns the revision that wrote v.
func (v *Version) Revision() int64 { return v.KV.ModRevision }

// key returns v's key as a string that shares the bytes of KV.Key, which are
// never modified. It keeps each key in memory once instead of three times, and
// comparisons free of allocations.
func (v *Version) key() string {
	return unsafe.String(unsafe.SliceData(v.KV.Key), len(v.KV.Key)) //nolint:gosec // The key is never written to after it was made.
}

// Prev returns the version that v replaced, or nil if there was none or it was
// compacted.
func (v *Version) Prev() *Version { return v.prev.Load() }

// live returns v's key-value, or nil if v is nil or a deletion.
func (v *Version) live() *mvccpb.KeyValue {
	if v == nil || v.Deleted {
		return nil
	}
	return v.KV
}

// chain is all retained versions of one key, newest first.
type chain struct {
	head atomic.Pointer[Version]
}

// at returns the newest version not newer than rev, or nil.
func (c *chain) at(rev int64) *Version {
	v := c.head.Load()
	for v != nil && v.KV.ModRevision > rev {
		v = v.prev.Load()
	}
	return v
}

// item is an entry of the tree. It is a small value, so that a lookup does not
// allocate.
type item struct {
	key   string
	chain *chain
}

func lessItem(a, b item) bool { return a.key < b.key }
