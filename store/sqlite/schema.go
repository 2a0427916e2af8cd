// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	sqlite3 "github.com/mattn/go-sqlite3"

	"portico.dev/portico/store"
)

const (
	fileName = "store.db"
	newName  = "store.db.new"

	// applicationID is "Ptco" in the header of the file.
	applicationID = 0x5074636f
	// schemaVersion is raised when an older Portico could not read the file.
	schemaVersion = 1
)

// Names in the table meta.
const (
	metaSchema  = "schema_version"
	metaCompact = "compact_revision"
	// metaProbe is counted up to find out whether the disk can be written.
	metaProbe = "probe"
)

// The header of an SQLite file, https://www.sqlite.org/fileformat2.html
const (
	headerSize          = 100
	applicationIDOffset = 68
)

var sqliteMagic = []byte("SQLite format 3\x00")

// schema of a new file. The page size and auto_vacuum have effect only before
// the first table.
var schema = []string{
	`PRAGMA page_size = 8192`,
	`PRAGMA auto_vacuum = INCREMENTAL`,
	`PRAGMA journal_mode = WAL`,
	`BEGIN IMMEDIATE`,
	fmt.Sprintf(`PRAGMA application_id = %d`, applicationID),
	`CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID`,
	// version 0 is a deletion. sum is the CRC-32C of the other columns.
	`CREATE TABLE log (
		seq        INTEGER PRIMARY KEY,
		rev        INTEGER NOT NULL,
		key        BLOB NOT NULL,
		create_rev INTEGER NOT NULL,
		version    INTEGER NOT NULL,
		lease      INTEGER NOT NULL,
		value      BLOB NOT NULL,
		sum        INTEGER NOT NULL
	) STRICT`,
	`CREATE TABLE lease (id INTEGER PRIMARY KEY, ttl_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL) STRICT`,
	fmt.Sprintf(`INSERT INTO meta VALUES ('%s', %d), ('%s', 0), ('%s', 0)`, metaSchema, schemaVersion, metaCompact, metaProbe),
	`COMMIT`,
}

// ensureFile creates the file if there is none. It appears under its name only
// when it is complete, so an existing file that is not ours is never a
// half-made one of ours.
func ensureFile(dir string) error {
	path := filepath.Join(dir, fileName)
	_, err := os.Stat(path)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for it: %w", err)
	}
	if _, err := os.Stat(path + "-wal"); err == nil {
		return fmt.Errorf("the file is missing next to its write-ahead log: %w", store.ErrCorrupt)
	}
	fresh := filepath.Join(dir, newName)
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(fresh + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove unfinished store: %w", err)
		}
	}
	if err := createFile(fresh); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	return syncDir(dir)
}

func createFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	c, err := connect(path, Full)
	if err != nil {
		return err
	}
	for _, statement := range schema {
		if _, err := c.Exec(statement, nil); err != nil {
			_ = c.Close()
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	// Closing the last connection moves the WAL into the file and removes it.
	return c.Close()
}

// recognise returns an error unless an existing file is ours and of a version
// that we know.
func recognise(path string, d Durability) error {
	if err := checkHeader(path, applicationID); err != nil {
		return err
	}
	if d == Full {
		if err := checkWAL(path + "-wal"); err != nil {
			return err
		}
	}
	c, err := connect(path, Full)
	if err != nil {
		return diskError("connect", err)
	}
	defer func() { _ = c.Close() }()
	return checkSchema(c)
}

// checkSchema returns an error unless we know the version of a file's tables.
func checkSchema(c *sqlite3.SQLiteConn) error {
	version, err := queryInt(c, `SELECT value FROM meta WHERE name = '`+metaSchema+`'`)
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("no schema version: %w", store.ErrCorrupt)
	case err != nil:
		return diskError("read schema version", err)
	case version > schemaVersion:
		return fmt.Errorf("schema version %d, and %d is the newest known: %w", version, schemaVersion, store.ErrNewerSchema)
	case version < 1:
		return fmt.Errorf("schema version %d: %w", version, store.ErrCorrupt)
	}
	return nil
}

// checkHeader looks at the file before SQLite does. SQLite takes an empty file
// for a new database and discards a WAL next to it, and it moves the WAL of a
// foreign database into it; neither may happen.
func checkHeader(path string, id uint32) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	header := make([]byte, headerSize)
	n, err := io.ReadFull(f, header)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("read header: %w", err)
	}
	switch {
	case n == 0:
		return fmt.Errorf("the file is empty: %w", store.ErrCorrupt)
	case !bytes.HasPrefix(header[:n], sqliteMagic):
		return fmt.Errorf("not an SQLite file: %w", store.ErrForeign)
	case n < headerSize:
		return fmt.Errorf("the file ends within its header: %w", store.ErrCorrupt)
	}
	// The id is in the file itself, not only in a WAL, because the file was
	// complete before it got its name.
	if got := binary.BigEndian.Uint32(header[applicationIDOffset:]); got != id {
		return fmt.Errorf("application id %#x: %w", got, store.ErrForeign)
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync data directory: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync data directory: %w", err)
	}
	return nil
}
