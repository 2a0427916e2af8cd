// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mvcc

import "sync/atomic"

// sizes counts the bytes of keys and values. Writes need mu; reads need no
// lock.
type sizes struct {
	live atomic.Int64 // of the newest versions that are no deletions
	held atomic.Int64 // of all versions that are retained
}

// LiveBytes returns the bytes of all keys and their present values.
func (x *Index) LiveBytes() int64 { return x.sizes.live.Load() }

// HistoryBytes returns the bytes of retained versions that are not the present
// ones, those that a compaction made unreachable and no Sweep has come to
// included.
func (x *Index) HistoryBytes() int64 { return max(0, x.sizes.held.Load()-x.sizes.live.Load()) }

// written counts a new version and the replaced one.
func (s *sizes) written(v, old *Version) {
	s.held.Add(v.size())
	if !v.Deleted {
		s.live.Add(v.size())
	}
	if old != nil && !old.Deleted {
		s.live.Add(-old.size())
	}
}

// forgotten counts a version that is no longer retained.
func (s *sizes) forgotten(v *Version) { s.held.Add(-v.size()) }

// size is the bytes of v's key and value.
func (v *Version) size() int64 { return int64(len(v.KV.Key) + len(v.KV.Value)) }

// RevisionKeeping returns the lowest revision to compact to so that the history
// after it has at most so many bytes.
func (x *Index) RevisionKeeping(bytes int64) int64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for i := len(x.log) - 1; i >= 0; i-- {
		v := x.log[i]
		if p := v.prev.Load(); p != nil && !p.Deleted {
			bytes -= p.size()
		}
		if v.Deleted {
			bytes -= v.size()
		}
		if bytes < 0 {
			return v.Revision()
		}
	}
	return x.compacted.Load()
}
