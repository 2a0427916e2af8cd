// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	sqlite3 "github.com/mattn/go-sqlite3"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"portico.dev/portico/store"
	"portico.dev/portico/store/mvcc"
)

// load reads the whole file into an index. It verifies each row's checksum and
// that the rows follow from each other, and returns the rows that a compaction
// had not come to delete.
func load(ctx context.Context, c *sqlite3.SQLiteConn) (x *mvcc.Index, garbage []int64, err error) {
	compacted, err := queryInt(c, `SELECT value FROM meta WHERE name = '`+metaCompact+`'`)
	if err != nil {
		return nil, nil, diskError("read compact revision", err)
	}
	loader := mvcc.NewLoader(compacted)
	err = query(c, `SELECT id, ttl_ms, expires_ms FROM lease`, func(row []driver.Value) error {
		var n [3]int64
		if err := integers(n[:], row...); err != nil {
			return err
		}
		loader.AddLease(mvcc.LeaseChange{ID: n[0], TTL: time.Duration(n[1]) * time.Millisecond, Expires: time.UnixMilli(n[2])})
		return nil
	})
	if err != nil {
		return nil, nil, diskError("read leases", err)
	}
	err = query(c, `SELECT seq, rev, key, create_rev, version, lease, value, sum FROM log ORDER BY seq`, func(row []driver.Value) error {
		seq, kv, err := decodeRow(row)
		if err != nil {
			return err
		}
		if seq%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := loader.Add(seq, kv); err != nil {
			return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
		}
		return nil
	})
	if err != nil {
		return nil, nil, diskError("read changes", err)
	}
	x, garbage = loader.Finish()
	return x, garbage, nil
}

// decodeRow turns a row of the log into a change.
func decodeRow(row []driver.Value) (int64, *mvccpb.KeyValue, error) {
	var n [6]int64
	if err := integers(n[:], row[0], row[1], row[3], row[4], row[5], row[7]); err != nil {
		return 0, nil, err
	}
	seq, kv := n[0], &mvccpb.KeyValue{ModRevision: n[1], CreateRevision: n[2], Version: n[3], Lease: n[4]}
	kv.Key, _ = row[2].([]byte)
	kv.Value, _ = row[6].([]byte)
	if sum := n[5]; sum != int64(checksum(seq, kv)) {
		return 0, nil, fmt.Errorf("%w: change %d (revision %d) does not match its checksum", store.ErrCorrupt, seq, kv.ModRevision)
	}
	return seq, kv, nil
}

// integers reads the values of columns that are declared as integers. In a
// damaged page even a STRICT table holds anything.
func integers(into []int64, row ...driver.Value) error {
	for i, value := range row {
		n, ok := value.(int64)
		if !ok {
			return fmt.Errorf("%w: a row holds %T instead of a number", store.ErrCorrupt, value)
		}
		into[i] = n
	}
	return nil
}
