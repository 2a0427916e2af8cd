// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	sqlite3 "github.com/mattn/go-sqlite3"

	"portico.dev/portico/store"
)

// RestoreGap is how far a restored store's revision is ahead of the snapshot's.
// Clients hold revisions that the lost store gave out after the snapshot was
// taken; none of them may come to mean something else. It is more than a store
// writes in a year, and etcd's documentation recommends it.
const RestoreGap = 1_000_000_000

// RestoreSnapshot makes a store of a snapshot, in a data directory that has
// none, and returns the files that were saved with it.
//
// All history up to the new revision is given up: a client that was watching
// gets the error that its revision is gone, and lists again. Leases end when
// they would have ended.
func RestoreSnapshot(ctx context.Context, path, dir string) (Snapshot, map[string][]byte, error) {
	s, err := CheckSnapshot(ctx, path)
	if err != nil {
		return s, nil, err
	}
	if len(s.Problems) > 0 {
		return s, nil, fmt.Errorf("restore snapshot %q: %w: %s", path, store.ErrCorrupt, s.Problems[0])
	}
	if s.Revision > math.MaxInt64-2*RestoreGap {
		return s, nil, fmt.Errorf("restore snapshot %q: revision %d leaves no room for a later one", path, s.Revision)
	}
	files, err := s.restore(ctx, dir)
	if err != nil {
		return s, nil, fmt.Errorf("restore snapshot %q: %w", path, err)
	}
	return s, files, nil
}

func (s *Snapshot) restore(ctx context.Context, dir string) (map[string][]byte, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	target := filepath.Join(dir, fileName)
	if _, err := os.Lstat(target); err == nil {
		return nil, fmt.Errorf("%q: %w", target, os.ErrExist)
	}
	c, err := s.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }() // Nothing was written through it.
	files, err := readFiles(c)
	if err != nil {
		return nil, err
	}
	fresh := filepath.Join(dir, newName)
	if err := os.WriteFile(fresh, nil, 0o600); err != nil {
		return nil, err
	}
	if err := vacuumInto(ctx, c, fresh); err != nil {
		return nil, err
	}
	if err := makeStore(fresh, s.Revision+RestoreGap); err != nil {
		return nil, err
	}
	if err := os.Rename(fresh, target); err != nil {
		return nil, err
	}
	s.Revision += RestoreGap
	return files, syncDir(dir)
}

func readFiles(c *sqlite3.SQLiteConn) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := query(c, `SELECT name, content FROM file`, func(row []driver.Value) error {
		name, _ := row[0].(string)
		files[name], _ = row[1].([]byte)
		return nil
	})
	if err != nil {
		return nil, diskError("read files", err)
	}
	return files, nil
}

// makeStore turns the copy of a snapshot into a store at a revision.
func makeStore(path string, revision int64) (err error) {
	c, err := connect(path, Full)
	if err != nil {
		return diskError("connect", err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for _, q := range []string{
		`BEGIN IMMEDIATE`,
		`DROP TABLE file`,
		`DROP TABLE digest`,
		`DELETE FROM meta WHERE name IN ('` + metaSnapshot + `', '` + metaRevision + `')`,
		fmt.Sprintf(`UPDATE meta SET value = %d WHERE name = '%s'`, revision, metaCompact),
		fmt.Sprintf(`PRAGMA application_id = %d`, applicationID),
		`COMMIT`,
		`PRAGMA journal_mode = WAL`,
	} {
		if _, err := c.Exec(q, nil); err != nil {
			return diskError(q, err)
		}
	}
	return nil
}
