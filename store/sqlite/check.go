// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	sqlite3 "github.com/mattn/go-sqlite3"

	"portico.dev/portico/store"
)

// Report is the result of Check. Problems is empty if the store is sound.
type Report struct {
	Path            string   `json:"path"`
	SchemaVersion   int64    `json:"schemaVersion"`
	Revision        int64    `json:"revision"`
	CompactRevision int64    `json:"compactRevision"`
	Keys            int64    `json:"keys"`
	Changes         int64    `json:"changes"`
	Garbage         int64    `json:"garbage"`
	Leases          int      `json:"leases"`
	FileBytes       int64    `json:"fileBytes"`
	WALBytes        int64    `json:"walBytes"`
	FreePages       int64    `json:"freePages"`
	Problems        []string `json:"problems,omitempty"`
}

// Check verifies a data directory that no process has open. The error says that
// it could not be looked at; damage is reported in Report.Problems. Nothing is
// changed, except that SQLite replays the write-ahead log of a process that was
// killed.
func Check(ctx context.Context, dir string) (Report, error) {
	r := Report{Path: filepath.Join(dir, fileName)}
	info, err := os.Stat(r.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r, fmt.Errorf("check store: there is none at %q: %w", r.Path, fs.ErrNotExist)
	case err != nil:
		return r, fmt.Errorf("check store: %w", err)
	}
	r.FileBytes = info.Size()
	if info, err := os.Stat(r.Path + "-wal"); err == nil {
		r.WALBytes = info.Size()
	}
	lock, err := lockDir(dir)
	if err != nil {
		return r, err
	}
	defer lock.Close()
	switch err := recognise(r.Path, Full); {
	case errors.Is(err, store.ErrCorrupt):
		r.Problems = append(r.Problems, err.Error())
		return r, nil
	case err != nil:
		return r, fmt.Errorf("check store %q: %w", r.Path, err)
	}
	return r, r.inspect(ctx)
}

// inspect reads the whole file.
func (r *Report) inspect(ctx context.Context) error {
	c, err := connect(r.Path, Full)
	if err != nil {
		return diskError("connect", err)
	}
	defer func() { _ = c.Close() }() // Nothing was written through it.
	return r.read(ctx, c)
}

// read looks at the structure of a file as SQLite sees it, then at its content
// as an Engine would.
func (r *Report) read(ctx context.Context, c *sqlite3.SQLiteConn) error {
	var err error
	for into, q := range map[*int64]string{
		&r.SchemaVersion: `SELECT value FROM meta WHERE name = '` + metaSchema + `'`,
		&r.FreePages:     `PRAGMA freelist_count`,
		&r.Changes:       `SELECT count(*) FROM log`,
	} {
		if *into, err = queryInt(c, q); err != nil {
			r.Problems = append(r.Problems, diskError(q, err).Error())
		}
	}
	err = query(c, `PRAGMA integrity_check(100)`, func(row []driver.Value) error {
		if text := fmt.Sprint(row[0]); text != "ok" {
			r.Problems = append(r.Problems, text)
		}
		return ctx.Err()
	})
	if err != nil {
		r.Problems = append(r.Problems, diskError("check structure", err).Error())
	}
	x, garbage, err := load(ctx, c)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		r.Problems = append(r.Problems, err.Error())
		return nil
	}
	view := x.View()
	r.Revision, r.CompactRevision = view.Revision(), x.CompactRevision()
	r.Keys, r.Garbage, r.Leases = view.Count("\x00", "\x00"), int64(len(garbage)), len(x.Leases())
	return nil
}
