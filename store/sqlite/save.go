// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	sqlite3 "github.com/mattn/go-sqlite3"

	"portico.dev/portico/store"
)

// SaveSnapshot writes the store in a data directory to a new file, together
// with files that belong to it. The store may be in use: a transaction that
// only reads sees every write that was acknowledged before it began and none
// that came later, and the writer goes on. While it reads, the write-ahead log
// cannot start over and grows.
//
// The file appears under its name when it is complete, on disk and verified.
func SaveSnapshot(ctx context.Context, dir, path string, files map[string][]byte) (Snapshot, error) {
	s, err := saveSnapshot(ctx, dir, path, files)
	if err != nil {
		return s, fmt.Errorf("save snapshot of %q: %w", dir, err)
	}
	return s, nil
}

func saveSnapshot(ctx context.Context, dir, path string, files map[string][]byte) (s Snapshot, err error) {
	if _, err := os.Lstat(path); err == nil {
		return s, fmt.Errorf("%q: %w", path, fs.ErrExist)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	partial, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // readable for its owner only
	if err != nil {
		return s, err
	}
	defer func() {
		for _, suffix := range []string{"", "-journal"} {
			_ = os.Remove(partial.Name() + suffix) // Not there any more if all went well.
		}
	}()
	if err := partial.Close(); err != nil {
		return s, err
	}
	if err := copyStore(ctx, dir, partial.Name()); err != nil {
		return s, err
	}
	if err := finishSnapshot(ctx, partial.Name(), files); err != nil {
		return s, err
	}
	if s, err = CheckSnapshot(ctx, partial.Name()); err != nil {
		return s, err
	}
	if len(s.Problems) > 0 {
		return s, fmt.Errorf("%w: %s", store.ErrCorrupt, s.Problems[0])
	}
	s.Path = path
	if err := os.Rename(partial.Name(), path); err != nil {
		return s, err
	}
	return s, syncDir(filepath.Dir(path))
}

// copyStore copies the store as of now into an empty file.
func copyStore(ctx context.Context, dir, to string) error {
	path, mode := filepath.Join(dir, fileName), "mode=ro"
	lock, err := lockDir(dir)
	switch {
	case errors.Is(err, store.ErrLocked):
		// In use, and verified when it was opened.
		err = checkHeader(path, applicationID)
	case err == nil:
		defer lock.Close()
		mode, err = atRest(path)
	}
	if err != nil {
		return err
	}
	c, err := connectAs(path, mode, Full)
	if err != nil {
		return diskError("connect", err)
	}
	defer func() { _ = c.Close() }() // Nothing was written through it.
	return vacuumInto(ctx, c, to)
}

// atRest is recognise for a store that is not in use and that shall stay as it
// is.
func atRest(path string) (mode string, err error) {
	if err := checkHeader(path, applicationID); err != nil {
		return "", err
	}
	info, err := os.Stat(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) || (err == nil && info.Size() == 0) {
		return "mode=ro&immutable=1", nil // so that SQLite leaves no other file next to it
	}
	return "mode=ro", checkWAL(path + "-wal")
}

func vacuumInto(ctx context.Context, c *sqlite3.SQLiteConn, to string) error {
	if _, err := c.ExecContext(ctx, `VACUUM INTO ?`, []driver.NamedValue{{Ordinal: 1, Value: to}}); err != nil {
		return diskError("copy", err)
	}
	return nil
}

// finishSnapshot makes a snapshot of the copy of a store.
func finishSnapshot(ctx context.Context, path string, files map[string][]byte) (err error) {
	c, err := connect(path, Full)
	if err != nil {
		return diskError("connect", err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err = checkSchema(c); err != nil {
		return err
	}
	// It also says whether the store is sound, by each row's own checksum.
	x, _, err := load(ctx, c)
	if err != nil {
		return err
	}
	statements := append([]string{
		`BEGIN IMMEDIATE`,
		fmt.Sprintf(`PRAGMA application_id = %d`, snapshotID),
		fmt.Sprintf(`INSERT INTO meta VALUES ('%s', %d), ('%s', %d)`, metaSnapshot, snapshotVersion, metaRevision, x.Revision()),
	}, snapshotSchema...)
	for _, q := range statements {
		if _, err := c.Exec(q, nil); err != nil {
			return diskError(q, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if _, err := c.Exec(`INSERT INTO file VALUES (?, ?)`, []driver.Value{name, files[name]}); err != nil {
			return diskError("write file", err)
		}
	}
	sum, err := digest(ctx, c)
	if err != nil {
		return err
	}
	if _, err := c.Exec(`INSERT INTO digest VALUES (?)`, []driver.Value{sum}); err != nil {
		return diskError("write digest", err)
	}
	if _, err := c.Exec(`COMMIT`, nil); err != nil {
		return diskError("commit", err)
	}
	return nil
}
