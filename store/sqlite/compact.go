// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"k8s.io/klog/v2"

	"portico.dev/portico/store/mvcc"
)

const (
	// sweepChunk is how many changes one step of garbage collection looks at,
	// and with that how long a write may have to wait for it.
	sweepChunk = 500
	// vacuumChunk is how many free pages one step gives back to the disk.
	vacuumChunk = 256
	// vacuumFloor is how many free pages are not worth giving back.
	vacuumFloor = 512
)

// Compact gives up history up to and including rev. Versions that this makes
// unreachable are deleted in the background.
func (e *Engine) Compact(ctx context.Context, rev int64) error {
	_, err := e.submit(&request{
		ctx:          ctx,
		fn:           func(t *mvcc.Tx) error { return t.Compact(rev) },
		done:         make(chan struct{}),
		housekeeping: true,
	})
	if err != nil {
		return err
	}
	e.queue.pushJob(e.collect)
	return nil
}

// mark is a revision and when it was the newest.
type mark struct {
	at  time.Time
	rev int64
}

// compactLoop keeps history for the configured time: it remembers which
// revision was current when, and compacts to the newest that is old enough.
func (e *Engine) compactLoop(ctx context.Context) {
	e.queue.pushJob(e.collect) // garbage that the last process left
	var tick <-chan time.Time
	if e.options.Retention > 0 {
		ticker := time.NewTicker(max(e.options.Retention/5, time.Millisecond))
		defer ticker.Stop()
		tick = ticker.C
	}
	var marks []mark
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.historyKick:
			// Compacted history may still be counted: it waits for its turn to
			// be deleted.
			if e.index.RevisionKeeping(e.options.MaxHistory) > e.index.CompactRevision() {
				e.compactTo(ctx, e.index.RevisionKeeping(e.options.MaxHistory/2))
			}
			continue
		case now := <-tick:
			marks = append(marks, mark{now, e.index.Revision()})
			for len(marks) > 1 && now.Sub(marks[1].at) >= e.options.Retention {
				marks = marks[1:]
			}
			if now.Sub(marks[0].at) < e.options.Retention || marks[0].rev <= e.index.CompactRevision() {
				continue
			}
		}
		e.compactTo(ctx, marks[0].rev)
	}
}

func (e *Engine) compactTo(ctx context.Context, rev int64) {
	if rev <= e.index.CompactRevision() {
		return
	}
	err := e.Compact(ctx, rev)
	if err != nil && ctx.Err() == nil && !errors.Is(err, rpctypes.ErrCompacted) {
		klog.FromContext(ctx).Info("Compaction was not possible", "revision", rev, "err", err)
	}
}

// boundHistory asks for a compaction if there is too much history.
func (e *Engine) boundHistory() {
	if e.options.MaxHistory == 0 || e.index.HistoryBytes() <= e.options.MaxHistory {
		return
	}
	select {
	case e.historyKick <- struct{}{}:
	default:
	}
}

// collect is the job that deletes garbage, and then gives free pages back, one
// chunk at a time.
func (e *Engine) collect() (more bool, err error) {
	if len(e.garbage) == 0 {
		var done bool
		e.garbage, done = e.index.Sweep(sweepChunk)
		if len(e.garbage) == 0 {
			if !done {
				return true, nil
			}
			return e.vacuum()
		}
	}
	// A chunk is deleted in order and kept until that is on disk, so that a
	// deletion never goes before the value that it ended.
	n := min(len(e.garbage), 2*sweepChunk)
	if err := e.disk.deleteRows(e.garbage[:n]); err != nil {
		return true, err
	}
	e.garbage = e.garbage[n:]
	e.countWAL(int64(n) * pageSize / 8)
	return true, nil
}

// vacuum gives one chunk of free pages back to the file system if many are
// free. Some are kept: the log grows again.
func (e *Engine) vacuum() (more bool, err error) {
	free, err := queryInt(e.disk.conn, `PRAGMA freelist_count`)
	if err != nil {
		return false, diskError("count free pages", err)
	}
	total, err := queryInt(e.disk.conn, `PRAGMA page_count`)
	if err != nil {
		return false, diskError("count pages", err)
	}
	if free < vacuumFloor || free < total/4 {
		return false, nil
	}
	// The pragma frees one page per step.
	err = query(e.disk.conn, `PRAGMA incremental_vacuum(256)`, func([]driver.Value) error { return nil })
	if err != nil {
		return false, diskError("give free pages back", err)
	}
	e.countWAL(vacuumChunk * pageSize)
	return true, nil
}
