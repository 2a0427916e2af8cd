// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"

	"portico.dev/portico/store"
	"portico.dev/portico/store/mvcc"
)

// recover tries to get from a failed commit back to service.
//
// After a commit failed, what it wrote may be on disk or not, but its callers
// were told that it did not happen. So a fresh connection removes whatever
// memory does not know. Memory is the truth here: everything in it was synced.
func (e *Engine) recover(ctx context.Context) error {
	err := e.reopen()
	if err != nil {
		err = fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		e.fault.Store(&err)
		return err
	}
	e.fault.Store(nil)
	klog.FromContext(ctx).Info("Store accepts writes again", "path", e.path)
	return nil
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

// adopt makes the file agree with memory. It writes in any case, which tells
// whether the disk can be written again.
func (d *disk) adopt(x *mvcc.Index) error {
	return d.transaction(func() error {
		for _, statement := range []string{
			fmt.Sprintf(`DELETE FROM log WHERE seq > %d`, x.LastSeq()),
			`DELETE FROM lease`,
			`UPDATE meta SET value = value + 1 WHERE name = '` + metaProbe + `'`,
		} {
			if _, err := d.conn.Exec(statement, nil); err != nil {
				return diskError("remove what was not acknowledged", err)
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
