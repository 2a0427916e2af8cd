// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mvcc

import (
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// ToEnd as the end of a range means "to the last key", as in etcd.
const ToEnd = "\x00"

// View is the store at one revision. It is a small value and needs no closing.
// Compaction may overtake a long-lived View: check Err after reading and before
// using the result.
type View struct {
	index *Index
	state *state
	rev   int64
}

// View returns the store at its last published revision.
func (x *Index) View() View {
	s := x.state.Load()
	return View{index: x, state: s, rev: s.rev}
}

// At returns the store as it was at rev; 0 means v itself. The error is
// rpctypes.ErrCompacted or rpctypes.ErrFutureRev.
func (v View) At(rev int64) (View, error) {
	switch {
	case rev <= 0 || rev == v.rev:
		return v, nil
	case rev > v.state.rev:
		return View{}, rpctypes.ErrFutureRev
	}
	v.rev = rev
	return v, v.Err()
}

// Revision returns the revision of the view.
func (v View) Revision() int64 { return v.rev }

// Current returns the store's revision when the view was taken, which etcd puts
// into response headers even for reads in the past.
func (v View) Current() int64 { return v.state.rev }

// Err returns rpctypes.ErrCompacted if history was given up beyond the view, in
// which case the results of its reads must not be used.
func (v View) Err() error {
	if v.rev < v.index.compacted.Load() {
		return rpctypes.ErrCompacted
	}
	return nil
}

// Get returns the value of key, or nil.
func (v View) Get(key string) *mvccpb.KeyValue {
	it, ok := v.state.tree.Get(item{key: key})
	if !ok {
		return nil
	}
	return it.chain.at(v.rev).live()
}

// Ascend calls fn for each key of the range in ascending order, until fn
// returns false. An empty end means the one key start.
func (v View) Ascend(start, end string, fn func(*mvccpb.KeyValue) bool) {
	visit := func(it item) bool {
		if kv := it.chain.at(v.rev).live(); kv != nil {
			return fn(kv)
		}
		return true
	}
	switch end {
	case "":
		if kv := v.Get(start); kv != nil {
			fn(kv)
		}
	case ToEnd:
		v.state.tree.AscendGreaterOrEqual(item{key: start}, visit)
	default:
		if start < end {
			v.state.tree.AscendRange(item{key: start}, item{key: end}, visit)
		}
	}
}

// Range returns up to limit values of the range, 0 meaning all, and the number
// of keys in the whole range.
func (v View) Range(start, end string, limit int64) (kvs []*mvccpb.KeyValue, count int64) {
	if end == "" {
		if kv := v.Get(start); kv != nil {
			return []*mvccpb.KeyValue{kv}, 1
		}
		return nil, 0
	}
	v.Ascend(start, end, func(kv *mvccpb.KeyValue) bool {
		if limit <= 0 || count < limit {
			kvs = append(kvs, kv)
		}
		count++
		return true
	})
	return kvs, count
}

// Count returns the number of keys in the range.
func (v View) Count(start, end string) (count int64) {
	v.Ascend(start, end, func(*mvccpb.KeyValue) bool {
		count++
		return true
	})
	return count
}

// InRange reports whether key is in the etcd range start, end.
func InRange(key, start, end string) bool {
	switch end {
	case "":
		return key == start
	case ToEnd:
		return key >= start
	default:
		return key >= start && key < end
	}
}
