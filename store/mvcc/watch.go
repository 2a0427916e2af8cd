// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mvcc

import (
	"context"
	"errors"
	"sort"
)

// ErrWatchClosed is returned by Watcher.Next after the Watcher or its Index
// was closed.
var ErrWatchClosed = errors.New("watch is closed")

// maxScan bounds how many changes one call of Next looks at, so that a watcher
// far behind gets its events in pieces.
const maxScan = 4096

// WatchOptions selects the changes to watch.
type WatchOptions struct {
	// Start and End are an etcd range: an empty End means the one key Start.
	Start, End string
	// Revision is the first revision to deliver; 0 means the next one.
	Revision int64
	// Stream names the group of watchers that RequestProgress addresses.
	Stream string
	// Progress asks for periodic progress notifications.
	Progress bool
}

// Watcher delivers the changes of a range in revision order. It holds no copy
// of them: a slow reader costs nothing but the history that is kept anyway, and
// gets the error of a compacted revision when it falls behind that.
type Watcher struct {
	index *Index
	opts  WatchOptions
	wake  chan struct{} // capacity 1

	// Guarded by index.mu.
	next     int64 // revisions before this one are done with
	pending  int64 // first revision with a matching change that was not taken, or 0
	progress bool  // a progress notification is due
	idle     bool  // nothing was delivered since the last tick
	closed   bool

	// backlog was taken but not looked at yet. Only Next uses it.
	backlog []*Version
}

// WatchBatch is one delivery: changes, or a progress notification, or the
// revision up to which history is gone.
type WatchBatch struct {
	// Versions are matching changes, never splitting a revision.
	Versions []*Version
	// Revision is the store's revision; all changes of the range up to
	// it were delivered if Progress is set.
	Revision int64
	Progress bool
	// CompactRevision is set when changes that should have come next are no
	// longer kept: it is the first revision from which a watch can start. The
	// watch is over.
	CompactRevision int64
}

// watchRange groups watchers of the same range, so that a change is compared
// with each range once.
type watchRange struct{ start, end string }

type watchTable struct {
	byRange map[watchRange]map[*Watcher]struct{}
}

func newWatchTable() watchTable {
	return watchTable{byRange: map[watchRange]map[*Watcher]struct{}{}}
}

// Watch registers a watcher. It must be closed.
func (x *Index) Watch(o WatchOptions) *Watcher {
	w := &Watcher{index: x, opts: o, wake: make(chan struct{}, 1), idle: true}
	x.mu.Lock()
	defer x.mu.Unlock()
	rev := x.Revision()
	w.next = o.Revision
	if w.next <= 0 {
		w.next = rev + 1
	}
	if w.next <= rev {
		w.pending = w.next
		w.signal()
	}
	if x.closed {
		w.closed = true
		w.signal()
		return w
	}
	r := watchRange{o.Start, o.End}
	if x.watchers.byRange[r] == nil {
		x.watchers.byRange[r] = map[*Watcher]struct{}{}
	}
	x.watchers.byRange[r][w] = struct{}{}
	return w
}

// Close unregisters the watcher and ends a Next in progress.
func (w *Watcher) Close() {
	x := w.index
	x.mu.Lock()
	defer x.mu.Unlock()
	r := watchRange{w.opts.Start, w.opts.End}
	if ws := x.watchers.byRange[r]; ws != nil {
		delete(ws, w)
		if len(ws) == 0 {
			delete(x.watchers.byRange, r)
		}
	}
	w.closed = true
	w.signal()
}

// RequestProgress makes the watchers of a stream deliver a progress
// notification after everything that is published now.
func (x *Index) RequestProgress(stream string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.watchers.each(func(w *Watcher) {
		if w.opts.Stream == stream {
			w.progress = true
			w.signal()
		}
	})
}

// ProgressTick makes the watchers that asked for it, and have delivered nothing
// since the last tick, deliver a progress notification.
func (x *Index) ProgressTick() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.watchers.each(func(w *Watcher) {
		if w.opts.Progress && w.idle {
			w.progress = true
			w.signal()
		}
		w.idle = true
	})
}

// Next blocks until there is something to deliver. Its error is that of the
// context, or ErrWatchClosed.
func (w *Watcher) Next(ctx context.Context) (WatchBatch, error) {
	for {
		if len(w.backlog) > 0 {
			if b, ok := w.scan(); ok {
				return b, nil
			}
			continue
		}
		versions, rev, progress, closed := w.take()
		switch {
		case closed:
			return WatchBatch{}, ErrWatchClosed
		case rev < 0: // the next change is gone
			return WatchBatch{Revision: w.index.Revision(), CompactRevision: w.index.CompactRevision() + 1}, nil
		case len(versions) > 0:
			w.backlog = versions
			if progress {
				w.redoProgress()
			}
			continue
		case progress:
			return WatchBatch{Revision: rev, Progress: true}, nil
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return WatchBatch{}, ctx.Err()
		}
	}
}

// scan looks at a piece of the backlog and reports whether it has anything to
// deliver.
func (w *Watcher) scan() (WatchBatch, bool) {
	n := min(len(w.backlog), maxScan)
	for n < len(w.backlog) && w.backlog[n].Revision() == w.backlog[n-1].Revision() {
		n++
	}
	piece := w.backlog[:n]
	w.backlog = w.backlog[n:]
	var out []*Version
	for _, v := range piece {
		if InRange(v.key(), w.opts.Start, w.opts.End) {
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		return WatchBatch{}, false
	}
	return WatchBatch{Versions: out, Revision: piece[n-1].Revision()}, true
}

// Compacted reports whether a delivered batch may have lost the previous values
// of its changes to a compaction. It is to be asked after they were read.
func (w *Watcher) Compacted(b WatchBatch) bool {
	return len(b.Versions) > 0 && b.Versions[0].Revision() <= w.index.CompactRevision()
}

// take returns the part of the log that was not looked at yet, if it holds
// anything for w, and the revision it goes up to, or -1 if some of it is gone.
func (w *Watcher) take() (versions []*Version, rev int64, progress, closed bool) {
	x := w.index
	x.mu.Lock()
	defer x.mu.Unlock()
	if w.closed {
		return nil, 0, false, true
	}
	rev = x.Revision()
	progress, w.progress = w.progress, false
	if w.pending != 0 {
		from := max(w.pending, w.next)
		w.pending = 0
		if from <= x.compacted.Load() {
			return nil, -1, false, false
		}
		versions = x.logFrom(from)
		w.idle = false
	}
	if progress {
		// A progress notification at a revision that the watch has not
		// reached yet would be a promise it cannot keep.
		progress = rev >= w.next-1
		w.idle = false
	}
	w.next = max(w.next, rev+1)
	return versions, rev, progress, false
}

// redoProgress puts a progress request back until the backlog is delivered.
func (w *Watcher) redoProgress() {
	w.index.mu.Lock()
	defer w.index.mu.Unlock()
	w.progress = true
	w.signal()
}

// signal wakes a Next in progress, or the next one.
func (w *Watcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// logFrom returns the log from a revision on. The slice stays valid: the log is
// only appended to, and compaction replaces it.
// REQUIRES: mu held.
func (x *Index) logFrom(rev int64) []*Version {
	i := sort.Search(len(x.log), func(i int) bool { return x.log[i].Revision() >= rev })
	return x.log[i:len(x.log):len(x.log)]
}

func (t *watchTable) each(fn func(*Watcher)) {
	for _, ws := range t.byRange {
		for w := range ws {
			fn(w)
		}
	}
}

func (t *watchTable) closeAll() {
	t.each(func(w *Watcher) {
		w.closed = true
		w.signal()
	})
	clear(t.byRange)
}

// notify wakes the watchers for which versions hold anything. One comparison
// per range and change; a watcher is woken at most once per batch.
func (t *watchTable) notify(versions []*Version) {
	for r, ws := range t.byRange {
		for _, v := range versions {
			if !InRange(v.key(), r.start, r.end) {
				continue
			}
			for w := range ws {
				if w.pending == 0 {
					w.pending = v.KV.ModRevision
					w.signal()
				}
			}
			break
		}
	}
}
