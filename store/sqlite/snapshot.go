// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	sqlite3 "github.com/mattn/go-sqlite3"

	"portico.dev/portico/store"
)

const (
	// snapshotID is "PtcS" in the header of the file: a snapshot is not taken
	// for a store, nor a store for a snapshot.
	snapshotID = 0x50746353
	// snapshotVersion is raised when an older Portico could not restore the file.
	snapshotVersion = 1
)

// Names in the table meta of a snapshot, besides those of a store.
const (
	metaSnapshot = "snapshot_version"
	metaRevision = "snapshot_revision"
)

// snapshotSchema is the tables that a snapshot has besides those of a store.
// sum is the SHA-256 of everything else in the file.
var snapshotSchema = []string{
	`CREATE TABLE file (name TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT, WITHOUT ROWID`,
	`CREATE TABLE digest (sum TEXT NOT NULL) STRICT`,
}

// Snapshot describes a snapshot.
type Snapshot struct {
	Report
	// Bytes is the size of the file.
	Bytes int64 `json:"bytes"`
	// Files are the names of the files that were saved with the store.
	Files []string `json:"files,omitempty"`
}

// IsSnapshot reports whether a file calls itself a snapshot.
func IsSnapshot(path string) bool { return checkHeader(path, snapshotID) == nil }

// CheckSnapshot verifies a snapshot. The error says that it could not be looked
// at; damage is reported in Problems. Nothing is changed.
func CheckSnapshot(ctx context.Context, path string) (Snapshot, error) {
	s := Snapshot{Report: Report{Path: path}}
	c, err := s.open()
	switch {
	case errors.Is(err, store.ErrCorrupt):
		s.Problems = append(s.Problems, err.Error())
		return s, nil
	case err != nil:
		return s, fmt.Errorf("check snapshot %q: %w", path, err)
	}
	defer func() { _ = c.Close() }() // Nothing was written through it.
	if err := s.read(ctx, c); err != nil {
		return s, fmt.Errorf("check snapshot %q: %w", path, err)
	}
	if err := s.verify(ctx, c); err != nil {
		s.Problems = append(s.Problems, err.Error())
	}
	return s, nil
}

// open connects to the file if it is a snapshot of a version that we know.
func (s *Snapshot) open() (*sqlite3.SQLiteConn, error) {
	if err := checkHeader(s.Path, snapshotID); err != nil {
		return nil, err
	}
	info, err := os.Stat(s.Path)
	if err != nil {
		return nil, err
	}
	s.Bytes, s.FileBytes = info.Size(), info.Size()
	// A snapshot is never written to, so no lock and no other file next to it
	// is needed.
	c, err := connectAs(s.Path, "mode=ro&immutable=1", Full)
	if err != nil {
		return nil, diskError("connect", err)
	}
	if err := checkSnapshotVersion(c); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func checkSnapshotVersion(c *sqlite3.SQLiteConn) error {
	version, err := queryInt(c, `SELECT value FROM meta WHERE name = '`+metaSnapshot+`'`)
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("no snapshot version: %w", store.ErrCorrupt)
	case err != nil:
		return diskError("read snapshot version", err)
	case version > snapshotVersion:
		return fmt.Errorf("snapshot version %d, and %d is the newest known: %w", version, snapshotVersion, store.ErrNewerSchema)
	}
	return checkSchema(c)
}

// verify compares the content with the digest and the revision in the file.
func (s *Snapshot) verify(ctx context.Context, c *sqlite3.SQLiteConn) error {
	var want string
	err := query(c, `SELECT sum FROM digest`, func(row []driver.Value) error {
		want, _ = row[0].(string)
		return nil
	})
	if err != nil {
		return diskError("read digest", err)
	}
	got, err := digest(ctx, c)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%w: the content does not match its digest", store.ErrCorrupt)
	}
	if s.Revision, err = queryInt(c, `SELECT value FROM meta WHERE name = '`+metaRevision+`'`); err != nil {
		return diskError("read revision", err)
	}
	s.Files = nil
	return query(c, `SELECT name FROM file ORDER BY name`, func(row []driver.Value) error {
		name, _ := row[0].(string)
		s.Files = append(s.Files, name)
		return nil
	})
}

// digest is the SHA-256 of all content. It is over values, not pages, so that it
// is the same after SQLite has rearranged the file.
func digest(ctx context.Context, c *sqlite3.SQLiteConn) (string, error) {
	h := sha256.New()
	for _, q := range []string{
		`SELECT name, value FROM meta ORDER BY name`,
		`SELECT id, ttl_ms, expires_ms FROM lease ORDER BY id`,
		`SELECT seq, rev, key, create_rev, version, lease, value, sum FROM log ORDER BY seq`,
		`SELECT name, content FROM file ORDER BY name`,
	} {
		hashValue(h, q) // separates the tables
		err := query(c, q, func(row []driver.Value) error {
			for _, v := range row {
				hashValue(h, v)
			}
			return ctx.Err()
		})
		if err != nil {
			return "", diskError("read for the digest", err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashValue adds a value with its kind and length, so that no two different
// sequences of values look the same.
func hashValue(h hash.Hash, v driver.Value) {
	var b []byte
	kind := byte(0)
	switch v := v.(type) {
	case int64:
		kind, b = 1, binary.BigEndian.AppendUint64(nil, uint64(v))
	case []byte:
		kind, b = 2, v
	case string:
		kind, b = 3, []byte(v)
	}
	h.Write([]byte{kind})
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
	h.Write(b)
}
