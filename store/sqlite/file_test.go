// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/mattn/go-sqlite3" // the driver for database/sql

	"portico.dev/portico/store"
	"portico.dev/portico/store/sqlite"
)

const databaseFile = "store.db"

// written returns a directory with a closed store that holds a few keys.
func written(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	e, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"/a", "/b", "/c", "/b"} {
		put(t, e.Client(), key, strings.Repeat(key, 4000))
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// alter runs SQL on the file behind the store's back.
func alter(t *testing.T, dir string, statements ...string) {
	t.Helper()
	alterFile(t, filepath.Join(dir, databaseFile), statements...)
}

func alterFile(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestOpenRefusesWhatItDoesNotUnderstand(t *testing.T) {
	replace := func(content string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, databaseFile), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	cases := map[string]struct {
		reason string
		damage func(t *testing.T, dir string)
		want   error
	}{
		"text file":           {"not SQLite", replace(strings.Repeat("hello ", 100)), store.ErrForeign},
		"empty file":          {"SQLite would take it for new", replace(""), store.ErrCorrupt},
		"half a header":       {"torn", replace("SQLite format 3\x00abc"), store.ErrCorrupt},
		"stranger's database": {"another application id", func(t *testing.T, dir string) { alter(t, dir, `PRAGMA application_id = 1`) }, store.ErrForeign},
		"newer schema": {"a newer portico", func(t *testing.T, dir string) {
			alter(t, dir, `UPDATE meta SET value = 99 WHERE name = 'schema_version'`)
		}, store.ErrNewerSchema},
		"no schema version": {"damaged", func(t *testing.T, dir string) { alter(t, dir, `DELETE FROM meta`) }, store.ErrCorrupt},
		"no log":            {"damaged", func(t *testing.T, dir string) { alter(t, dir, `DROP TABLE log`) }, nil},
		"cut off":           {"torn", truncate, store.ErrCorrupt},
		"flipped bit":       {"checksum of the row", flip, store.ErrCorrupt},
		"changed value":     {"checksum of the row", func(t *testing.T, dir string) { alter(t, dir, `UPDATE log SET value = x'00' WHERE seq = 2`) }, store.ErrCorrupt},
		"lost row":          {"revisions are dense", func(t *testing.T, dir string) { alter(t, dir, `DELETE FROM log WHERE seq = 2`) }, store.ErrCorrupt},
		"missing file": {"its log is still there", func(t *testing.T, dir string) {
			path := filepath.Join(dir, databaseFile)
			if err := os.Rename(path, path+"-wal"); err != nil {
				t.Fatal(err)
			}
		}, store.ErrCorrupt},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := written(t)
			c.damage(t, dir)
			before := snapshot(t, dir)
			e, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
			if err == nil {
				e.Close()
				t.Fatalf("opened (%s)", c.reason)
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%s: got %v, want %v", c.reason, err, c.want)
			}
			if !strings.Contains(err.Error(), databaseFile) {
				t.Errorf("the error does not name the file: %v", err)
			}
			if after := snapshot(t, dir); before != after {
				t.Error("the file was changed")
			}
			if name == "missing file" {
				return
			}
			report, err := sqlite.Check(t.Context(), dir)
			if err == nil && len(report.Problems) == 0 {
				t.Error("check finds nothing wrong")
			}
		})
	}
}

func truncate(t *testing.T, dir string) {
	path := filepath.Join(dir, databaseFile)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()/2); err != nil {
		t.Fatal(err)
	}
}

// flip changes one bit in the middle of a value, which SQLite cannot notice.
func flip(t *testing.T, dir string) {
	path := filepath.Join(dir, databaseFile)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(content), "/c/c/c/c/c/c")
	if at < 0 {
		t.Fatal("value not found in the file")
	}
	content[at+100] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func snapshot(t *testing.T, dir string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, databaseFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(content)
}

func TestCheck(t *testing.T) {
	dir := written(t)
	report, err := sqlite.Check(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Problems) > 0 || report.Keys != 3 || report.Changes != 4 || report.Revision != 5 || report.SchemaVersion != 1 {
		t.Errorf("got %+v", report)
	}
	if _, err := sqlite.Check(t.Context(), t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("check of nothing: %v", err)
	}
}

func TestOneEngineAtATime(t *testing.T) {
	dir := t.TempDir()
	open(t, sqlite.Options{Dir: dir})
	if _, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("second engine of this process: %v", err)
	}
	if _, err := sqlite.Check(t.Context(), dir); !errors.Is(err, store.ErrLocked) {
		t.Errorf("check of an open store: %v", err)
	}
	out, err := runOther(t, dir)
	if err != nil || !strings.Contains(out, store.ErrLocked.Error()) || !strings.Contains(out, "held by process") {
		t.Errorf("second process: %q, %v", out, err)
	}
}

// otherVariable makes the test binary a process that opens a store.
const otherVariable = "PORTICO_STORE_OTHER"

// runOther opens the store in another process.
func runOther(t *testing.T, dir string) (string, error) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), otherVariable+"="+dir)
	out, err := cmd.Output()
	return string(out), err
}

// openInOtherProcess reports whether this process is the other one.
func openInOtherProcess() bool {
	dir := os.Getenv(otherVariable)
	if dir == "" {
		return false
	}
	e, err := sqlite.Open(context.Background(), sqlite.Options{Dir: dir})
	if err == nil {
		err = e.Close()
	}
	fmt.Println(err)
	return true
}

func TestPermissions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	e := open(t, sqlite.Options{Dir: dir})
	put(t, e.Client(), "/a", "1")
	for _, name := range []string{"", databaseFile, databaseFile + "-wal", "lock"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%q has mode %v: others can read Secrets", name, info.Mode())
		}
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]sqlite.Options{
		"no directory":       {},
		"unknown durability": {Dir: t.TempDir(), Durability: "maybe"},
	} {
		if _, err := sqlite.Open(t.Context(), o); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}
