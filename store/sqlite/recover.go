// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/klog/v2"

	"portico.dev/portico/store"
	"portico.dev/portico/store/mvcc"
)

const (
	// recoverInterval bounds how often callers make a broken disk be tried.
	recoverInterval = 250 * time.Millisecond
	// minRoom is how much the disk must take before a store that failed accepts
	// writes again. Without it a disk that is nearly full would let the one
	// page of a trial pass and fail the write after it, again and again.
	minRoom = 4 << 20
	// maxRoom bounds the room that is required after a large batch failed.
	maxRoom = 16 << 20

	roomName = "room.tmp"
)

// recover tries to get from a failed commit back to service.
//
// After a commit failed, its rows may be on disk or not, but its callers have
// got an error. So a fresh connection removes all rows that memory does not
// know. Memory is the truth here: everything in it was synced.
//
// Then the file is usable, for housekeeping that may give space back. Writes
// are accepted only once there is also room for more than the next one.
func (e *Engine) recover(ctx context.Context) error {
	if time.Since(e.tried) < recoverInterval {
		return *e.fault.Load()
	}
	err := e.tryDisk()
	e.tried = time.Now()
	if err != nil {
		err = fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		e.fault.Store(&err)
		return err
	}
	e.fault.Store(nil)
	e.failedBytes = 0
	klog.FromContext(ctx).Info("Store accepts writes again", "path", e.path)
	return nil
}

func (e *Engine) tryDisk() error {
	if !e.usable {
		if err := e.reopen(); err != nil {
			return err
		}
		e.usable = true
	}
	if err := e.emptyWAL(); err != nil {
		return err
	}
	return takeRoom(e.options.Dir, min(max(minRoom, 2*e.failedBytes), maxRoom))
}

// emptyWAL gives back the WAL's space, if the file has room for the WAL's
// content. A checkpoint begun without that room would only use up the rest,
// which compaction needs to make more.
func (e *Engine) emptyWAL() error {
	pages, err := queryInt(e.disk.conn, `PRAGMA page_count`)
	if err != nil {
		return diskError("count pages", err)
	}
	info, err := os.Stat(e.path)
	if err != nil {
		return err
	}
	if growth := pages*pageSize - info.Size(); growth > 0 {
		if err := takeRoom(e.options.Dir, growth); err != nil {
			return err
		}
	}
	_, err = e.truncateWAL()
	return err
}

// takeRoom writes that many bytes to a file of its own, syncs and removes it. A
// disk that has no room may say so only then: one that is thinly provisioned,
// or on a network.
func takeRoom(dir string, size int64) (err error) {
	f, err := os.OpenFile(filepath.Join(dir, roomName), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("try the disk: %w", err)
	}
	wanted := size
	defer func() {
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		if err != nil {
			err = fmt.Errorf("the disk has no room for %d KiB: %w", wanted>>10, err)
		}
	}()
	for chunk := make([]byte, 1<<20); size > 0; size -= int64(len(chunk)) {
		if _, err := f.Write(chunk[:min(size, int64(len(chunk)))]); err != nil {
			return err
		}
	}
	return f.Sync()
}

func (e *Engine) reopen() error {
	if err := e.injected("reopen"); err != nil {
		return err
	}
	d, err := openDisk(e.path, e.options.Durability)
	if err != nil {
		return err
	}
	// Only now: while the old connection is open, the WAL is not taken for
	// abandoned.
	_ = e.disk.close()
	e.disk = d
	return d.adopt(e.index)
}

// adopt makes the file agree with memory. It writes in any case, which shows
// whether the disk can be written again.
func (d *disk) adopt(x *mvcc.Index) error {
	return d.transaction(func() error {
		for _, statement := range []string{
			fmt.Sprintf(`DELETE FROM log WHERE seq > %d`, x.LastSeq()),
			`DELETE FROM lease`,
			`UPDATE meta SET value = value + 1 WHERE name = '` + metaProbe + `'`,
		} {
			if _, err := d.conn.Exec(statement, nil); err != nil {
				return diskError("remove rows that were not acknowledged", err)
			}
		}
		if err := exec(d.setMeta, x.CompactRevision(), metaCompact); err != nil {
			return diskError("write compact revision", err)
		}
		for _, id := range x.Leases() {
			l, _ := x.Lease(id)
			if err := d.writeLeases([]mvcc.LeaseChange{{ID: id, TTL: l.TTL, Expires: l.Expires}}); err != nil {
				return err
			}
		}
		return nil
	})
}

// probe writes something that does not matter.
func (d *disk) probe() error {
	return d.transaction(func() error {
		if _, err := d.conn.Exec(`UPDATE meta SET value = value + 1 WHERE name = '`+metaProbe+`'`, nil); err != nil {
			return diskError("write probe", err)
		}
		return nil
	})
}
