// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mvcc

// Sweep forgets versions that the compact revision made unreachable, looking at
// up to limit changes, and returns the sequence numbers of the versions that
// can be deleted from the durable log. done reports that nothing is left to
// sweep.
//
// A version is garbage when a newer version of its key is at or before the
// compact revision, or when it is itself a deletion at or before it.
//
// Only the writer may call it.
func (x *Index) Sweep(limit int) (garbage []int64, done bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	compacted := x.compacted.Load()
	n, shrunk := 0, false
	for n < len(x.log) && n < limit && x.log[n].Revision() <= compacted {
		v := x.log[n]
		n++
		// A deletion was counted as garbage when it was itself looked at.
		if p := v.prev.Load(); p != nil && !p.Deleted {
			garbage = append(garbage, p.Seq)
			x.sizes.forgotten(p)
		}
		v.prev.Store(nil)
		if !v.Deleted {
			continue
		}
		garbage = append(garbage, v.Seq)
		x.sizes.forgotten(v)
		key := item{key: v.key()}
		if it, ok := x.tree.Get(key); ok && it.chain.head.Load() == v {
			x.tree.Delete(key)
			shrunk = true
		}
	}
	if shrunk {
		x.state.Store(&state{tree: x.tree.Clone(), rev: x.Revision()})
	}
	x.trim(n)
	return garbage, len(x.log) == 0 || x.log[0].Revision() > compacted
}

// trim drops the first n changes of the log. Watchers may hold slices of the
// old array, so nothing in it is overwritten.
func (x *Index) trim(n int) {
	if n == 0 {
		return
	}
	rest := x.log[n:]
	if len(rest) < cap(rest)/2 {
		// A mostly empty array would keep the trimmed versions in memory.
		rest = append(make([]*Version, 0, len(rest)+len(rest)/4), rest...)
	}
	x.log = rest
}
