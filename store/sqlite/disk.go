// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	sqlite3 "github.com/mattn/go-sqlite3"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"portico.dev/portico/store"
	"portico.dev/portico/store/mvcc"
)

// disk is the writer's connection. Only the writer goroutine uses it.
//
// The driver's connection is used directly: database/sql would add a pool, a
// lock and a few allocations to each statement, for a single connection that
// has a single user.
type disk struct {
	conn *sqlite3.SQLiteConn

	begin, commit, rollback      *sqlite3.SQLiteStmt
	insertRow, deleteRow         *sqlite3.SQLiteStmt
	setMeta, putLease, dropLease *sqlite3.SQLiteStmt
}

// connect opens a connection that never checkpoints by itself.
func connect(path string, d Durability) (*sqlite3.SQLiteConn, error) {
	return connectAs(path, "mode=rw", d)
}

// connectAs opens a connection to a file that exists. With mode=ro it changes
// nothing, which is possible while another process writes the file.
func connectAs(path, mode string, d Durability) (*sqlite3.SQLiteConn, error) {
	// Characters that mean something in a URI are escaped.
	escaped := strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
	c, err := (&sqlite3.SQLiteDriver{}).Open("file:" + escaped + "?" + mode + "&_busy_timeout=5000")
	if err != nil {
		return nil, err
	}
	conn := c.(*sqlite3.SQLiteConn)
	for _, pragma := range []string{
		`PRAGMA synchronous = ` + string(d),
		`PRAGMA wal_autocheckpoint = 0`,
		`PRAGMA temp_store = MEMORY`,
		`PRAGMA cache_size = -4096`,
	} {
		if _, err := conn.Exec(pragma, nil); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("%s: %w", pragma, err)
		}
	}
	return conn, nil
}

// openDisk opens the writer's connection to a file that was recognised.
func openDisk(path string, durability Durability) (*disk, error) {
	conn, err := connect(path, durability)
	if err != nil {
		return nil, diskError("connect", err)
	}
	d := &disk{conn: conn}
	for _, p := range []struct {
		into  **sqlite3.SQLiteStmt
		query string
	}{
		{&d.begin, `BEGIN IMMEDIATE`},
		{&d.commit, `COMMIT`},
		{&d.rollback, `ROLLBACK`},
		{&d.insertRow, `INSERT INTO log (seq, rev, key, create_rev, version, lease, value, sum) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`},
		{&d.deleteRow, `DELETE FROM log WHERE seq = ?`},
		{&d.setMeta, `UPDATE meta SET value = ? WHERE name = ?`},
		{&d.putLease, `INSERT OR REPLACE INTO lease (id, ttl_ms, expires_ms) VALUES (?, ?, ?)`},
		{&d.dropLease, `DELETE FROM lease WHERE id = ?`},
	} {
		s, err := conn.Prepare(p.query)
		if err != nil {
			_ = d.close()
			// The file is open, so it is its tables that are not right.
			return nil, fmt.Errorf("%s: %w: %w", p.query, store.ErrCorrupt, err)
		}
		*p.into = s.(*sqlite3.SQLiteStmt)
	}
	return d, nil
}

// close gives the connection back. If it is the last one, SQLite moves the WAL
// into the file.
func (d *disk) close() error {
	for _, s := range []*sqlite3.SQLiteStmt{d.begin, d.commit, d.rollback, d.insertRow, d.deleteRow, d.setMeta, d.putLease, d.dropLease} {
		if s != nil {
			_ = s.Close()
		}
	}
	return d.conn.Close()
}

// transaction runs fn in a transaction. If it returns an error the outcome on
// disk is unknown.
func (d *disk) transaction(fn func() error) error {
	if err := exec(d.begin); err != nil {
		return diskError("begin", err)
	}
	if err := fn(); err != nil {
		// Some errors have rolled back already; then this one fails too.
		_ = exec(d.rollback)
		return err
	}
	if err := exec(d.commit); err != nil {
		_ = exec(d.rollback)
		return diskError("commit", err)
	}
	return nil
}

// write makes a batch durable.
func (d *disk) write(b *mvcc.Batch) error {
	return d.transaction(func() error {
		if rev := b.Compacted(); rev != 0 {
			if err := exec(d.setMeta, rev, metaCompact); err != nil {
				return diskError("write compact revision", err)
			}
		}
		if err := d.writeLeases(b.Leases()); err != nil {
			return err
		}
		for _, v := range b.Versions() {
			kv := v.KV
			value := kv.Value
			if value == nil {
				value = []byte{}
			}
			if err := exec(d.insertRow, v.Seq, kv.ModRevision, kv.Key, kv.CreateRevision, kv.Version, kv.Lease, value, int64(checksum(v.Seq, kv))); err != nil {
				return diskError("write change", err)
			}
		}
		return nil
	})
}

func (d *disk) writeLeases(changes []mvcc.LeaseChange) error {
	for _, c := range changes {
		var err error
		if c.Removed {
			err = exec(d.dropLease, c.ID)
		} else {
			err = exec(d.putLease, c.ID, c.TTL.Milliseconds(), c.Expires.UnixMilli())
		}
		if err != nil {
			return diskError("write lease", err)
		}
	}
	return nil
}

// deleteRows deletes compacted rows.
func (d *disk) deleteRows(seqs []int64) error {
	return d.transaction(func() error {
		for _, seq := range seqs {
			if err := exec(d.deleteRow, seq); err != nil {
				return diskError("delete compacted change", err)
			}
		}
		return nil
	})
}

// checksum covers everything in a row of the log.
func checksum(seq int64, kv *mvccpb.KeyValue) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	var head [48]byte
	for i, n := range [6]int64{seq, kv.ModRevision, kv.CreateRevision, kv.Version, kv.Lease, int64(len(kv.Key))} {
		binary.LittleEndian.PutUint64(head[8*i:], uint64(n))
	}
	sum := crc32.Update(0, table, head[:])
	sum = crc32.Update(sum, table, kv.Key)
	return crc32.Update(sum, table, kv.Value)
}

func exec(s *sqlite3.SQLiteStmt, args ...driver.Value) error {
	_, err := s.Exec(args)
	return err
}

// query calls fn for each row. The slice is reused; byte slices in it are not.
func query(c *sqlite3.SQLiteConn, q string, fn func(row []driver.Value) error) error {
	rows, err := c.Query(q, nil)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // Its error is that of the iteration, checked below.
	row := make([]driver.Value, len(rows.Columns()))
	for {
		switch err := rows.Next(row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := fn(row); err != nil {
			return err
		}
	}
}

// queryInt returns the integer that a query yields, or io.EOF if it yields none.
func queryInt(c *sqlite3.SQLiteConn, q string) (n int64, err error) {
	found := false
	err = query(c, q, func(row []driver.Value) error {
		if n, found = row[0].(int64); !found {
			return fmt.Errorf("%w: %s: got %T, not a number", store.ErrCorrupt, q, row[0])
		}
		return nil
	})
	if err == nil && !found {
		err = io.EOF
	}
	return n, err
}

// diskError adds the failed action to an error and translates SQLite's result
// codes to the errors of package store.
func diskError(doing string, err error) error {
	var e sqlite3.Error
	if errors.As(err, &e) {
		switch e.Code {
		case sqlite3.ErrCorrupt, sqlite3.ErrNotADB, sqlite3.ErrFormat:
			return fmt.Errorf("%s: %w: %w", doing, store.ErrCorrupt, err)
		}
		if e.SystemErrno != 0 {
			return fmt.Errorf("%s: %w (%w)", doing, err, e.SystemErrno)
		}
	}
	return fmt.Errorf("%s: %w", doing, err)
}
