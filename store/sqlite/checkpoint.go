// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"os"

	sqlite3 "github.com/mattn/go-sqlite3"
	"k8s.io/klog/v2"

	"portico.dev/portico/store/mvcc"
)

const (
	pageSize = 8192
	// walSoftLimit is how much is written before the WAL is moved into the
	// file in the background.
	walSoftLimit = 4 << 20
	// walHardLimit is how much a WAL holds before the writer stops for it to be
	// started over. Background checkpoints alone cannot do that while writes keep
	// coming: there is always something in it that came after the checkpoint
	// began.
	walHardLimit = 16 << 20
)

// countWAL keeps an estimate of the bytes written to the WAL.
func (e *Engine) countWAL(size int64) {
	if e.walBytes.Add(size) > walSoftLimit {
		select {
		case e.walKick <- struct{}{}:
		default:
		}
	}
}

// boundWAL holds the writer up if the background cannot keep pace: on a slow
// disk the WAL would grow for as long as one checkpoint takes.
func (e *Engine) boundWAL(ctx context.Context) {
	if e.fault.Load() != nil {
		return
	}
	if e.walSize() > e.walExcused+2*walHardLimit {
		e.runJob(ctx, e.truncateWAL)
	}
}

// batchBytes estimates the size of a batch in the WAL.
func batchBytes(b *mvcc.Batch) int64 {
	size := int64(2 * pageSize) // the last page of the log, often one more
	for _, v := range b.Versions() {
		size += int64(len(v.KV.Key)+len(v.KV.Value)) + 64
	}
	return size
}

// checkpointLoop moves the WAL into the file, off the write path.
func (e *Engine) checkpointLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.walKick:
		}
		e.walBytes.Store(0)
		if e.fault.Load() != nil {
			continue // recovery knows whether there is room for it
		}
		e.checkpointing.Lock()
		pages, err := checkpoint(e.checkpoints, "PASSIVE")
		e.checkpointing.Unlock()
		if err != nil {
			// The writer meets the same disk and decides.
			klog.FromContext(ctx).Info("Checkpoint was not possible", "path", e.path, "err", err)
			continue
		}
		if pages*pageSize > walHardLimit {
			e.queue.pushJob(e.restartWAL)
		}
	}
}

// restartWAL makes the next write begin at the start of the WAL and leaves it
// its size: a sync of a file that does not grow is twice as fast, because the
// file system has nothing of its own to write.
func (e *Engine) restartWAL() (more bool, err error) { return false, e.finishCheckpoint("RESTART") }

// truncateWAL gives the room of the WAL back.
func (e *Engine) truncateWAL() (more bool, err error) { return false, e.finishCheckpoint("TRUNCATE") }

// finishCheckpoint moves the rest of the WAL into the file while nothing is
// being written. Most of the work was done in the background.
func (e *Engine) finishCheckpoint(mode string) error {
	// SQLite refuses a second checkpoint instead of waiting for the first.
	e.checkpointing.Lock()
	defer e.checkpointing.Unlock()
	// A process that reads the file, to copy it, is not waited for.
	if _, err := e.disk.conn.Exec(`PRAGMA busy_timeout = 0`, nil); err != nil {
		return diskError("checkpoint", err)
	}
	_, err := checkpoint(e.disk.conn, mode)
	if _, restoreErr := e.disk.conn.Exec(`PRAGMA busy_timeout = 5000`, nil); err == nil && restoreErr != nil {
		err = diskError("checkpoint", restoreErr)
	}
	e.walExcused = 0
	if errors.Is(err, errReader) {
		e.walExcused, err = e.walSize(), nil
	}
	return err
}

// errReader is returned when the WAL cannot start over because of a reader.
var errReader = errors.New("the file is being read")

func (e *Engine) walSize() int64 {
	info, err := os.Stat(e.path + "-wal")
	if err != nil {
		return 0
	}
	return info.Size()
}

// checkpoint returns how many pages the WAL holds.
func checkpoint(c *sqlite3.SQLiteConn, mode string) (pages int64, err error) {
	err = query(c, `PRAGMA wal_checkpoint(`+mode+`)`, func(row []driver.Value) error {
		var answer [2]int64
		if err := integers(answer[:], row[:2]...); err != nil {
			return err
		}
		if pages = answer[1]; answer[0] != 0 && mode != "PASSIVE" {
			return errReader
		}
		return nil
	})
	if err != nil {
		return 0, diskError("checkpoint", err)
	}
	return pages, nil
}
