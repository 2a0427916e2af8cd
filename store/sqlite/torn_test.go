// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"portico.dev/portico/store"
	"portico.dev/portico/store/sqlite"
)

// tornCommits is how many commits the stores of these tests hold.
const tornCommits = 60

// tornStore writes a store, one commit a key, and returns a copy of its files
// as a crash would leave them, and the store's content after each revision.
func tornStore(t *testing.T) (files map[string][]byte, history map[int64]map[string]string) {
	t.Helper()
	dir := t.TempDir()
	e := open(t, sqlite.Options{Dir: dir, Retention: -1})
	history = map[int64]map[string]string{1: {}}
	now := map[string]string{}
	for n := range tornCommits {
		key, value := fmt.Sprintf("/k/%d", n%25), strings.Repeat(fmt.Sprint(n, " "), 2000)
		rev := put(t, e.Client(), key, value)
		now[key] = value
		history[rev] = maps.Clone(now)
	}
	return readFiles(t, dir), history
}

func readFiles(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, name := range []string{databaseFile, databaseFile + "-wal"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		files[name] = content
	}
	return files
}

// restore puts files into a fresh directory.
func restore(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if len(content) == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// reopened opens a store and returns its revision. The content must be that of
// this revision.
func reopened(t *testing.T, dir string, d sqlite.Durability, history map[int64]map[string]string) (int64, error) {
	t.Helper()
	e, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir, Durability: d, Retention: -1})
	if err != nil {
		return 0, err
	}
	defer e.Close()
	rev := e.Index().Revision()
	if got := contents(t, e.Client(), "/k/", 0); !maps.Equal(got, history[rev]) {
		t.Errorf("revision %d is not what it was: %d keys, want %d", rev, len(got), len(history[rev]))
	}
	return rev, nil
}

// With any page of the file lost, the store holds everything or says that it is
// corrupt. It never opens with less.
func TestTornFile(t *testing.T) {
	_, history := tornStore(t)
	dir := t.TempDir()
	e := open(t, sqlite.Options{Dir: dir, Retention: -1})
	for rev := int64(2); rev <= tornCommits+1; rev++ {
		n := int(rev - 2)
		key := fmt.Sprintf("/k/%d", n%25)
		put(t, e.Client(), key, history[rev][key])
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	whole := readFiles(t, dir)[databaseFile]
	random := rand.New(rand.NewPCG(1, 0))
	const page = 8192
	refused := 0
	for at := 0; at < len(whole); at += page {
		for kind, damage := range map[string]func([]byte) []byte{
			"zeroed": func(b []byte) []byte { clear(b[at : at+page]); return b },
			"overwritten": func(b []byte) []byte {
				for i := at; i < at+page; i++ {
					b[i] = byte(random.Uint32())
				}
				return b
			},
			"a torn half": func(b []byte) []byte { clear(b[at+page/2 : at+page]); return b },
			"cut off":     func(b []byte) []byte { return b[:at] },
		} {
			torn := restore(t, map[string][]byte{databaseFile: damage(append([]byte(nil), whole...))})
			if at == 0 && kind == "cut off" {
				continue // no file is a new store
			}
			rev, err := reopened(t, torn, sqlite.Full, history)
			switch {
			case err == nil && rev != tornCommits+1:
				t.Errorf("page %d %s: opened at revision %d", at/page, kind, rev)
			case err != nil && !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrForeign):
				t.Errorf("page %d %s: %v", at/page, kind, err)
			case err != nil:
				refused++
				report, err := sqlite.Check(t.Context(), torn)
				if err == nil && len(report.Problems) == 0 {
					t.Errorf("page %d %s: check finds nothing wrong", at/page, kind)
				}
			}
		}
	}
	t.Logf("%d of %d damages refused", refused, 4*len(whole)/page)
	if refused < len(whole)/page {
		t.Error("hardly any damage is noticed")
	}
}

// A log that ends early is left by a crash: the store opens as it was after one
// of its commits.
func TestTornWALIsCutOff(t *testing.T) {
	files, history := tornStore(t)
	wal := files[databaseFile+"-wal"]
	random := rand.New(rand.NewPCG(2, 0))
	last := int64(0)
	for size := 0; size < len(wal); size += 1 + random.IntN(len(wal)/40) {
		dir := restore(t, map[string][]byte{databaseFile: files[databaseFile], databaseFile + "-wal": wal[:size]})
		rev, err := reopened(t, dir, sqlite.Full, history)
		if err != nil {
			t.Fatalf("cut off at %d of %d: %v", size, len(wal), err)
		}
		if rev < last {
			t.Errorf("cut off at %d: revision %d, and %d when it was shorter", size, rev, last)
		}
		last = rev
	}
	if last < tornCommits/2 {
		t.Errorf("the longest log has revision %d", last)
	}
}

// A log that is damaged in the middle is not taken for one that ends there:
// acknowledged commits are behind the damage.
func TestDamagedWALIsRefused(t *testing.T) {
	files, history := tornStore(t)
	wal := files[databaseFile+"-wal"]
	const frame = 24 + 8192
	frames := (len(wal) - 32) / frame
	random := rand.New(rand.NewPCG(3, 0))
	for n := range frames {
		damaged := append([]byte(nil), wal...)
		at := 32 + n*frame + random.IntN(frame)
		damaged[at] ^= 1 << random.IntN(8)
		torn := map[string][]byte{databaseFile: files[databaseFile], databaseFile + "-wal": damaged}
		dir := restore(t, torn)
		rev, err := reopened(t, dir, sqlite.Full, history)
		switch {
		case errors.Is(err, store.ErrCorrupt):
			after := readFiles(t, dir)
			if string(after[databaseFile+"-wal"]) != string(damaged) {
				t.Errorf("frame %d: the log was changed", n)
			}
			if report, err := sqlite.Check(t.Context(), dir); err != nil || len(report.Problems) == 0 {
				t.Errorf("frame %d: check finds nothing wrong: %v", n, err)
			}
			// Operators who accept the loss can have the rest.
			if _, err := reopened(t, dir, sqlite.Normal, history); err != nil {
				t.Errorf("frame %d: with durability normal: %v", n, err)
			}
		case err != nil:
			t.Errorf("frame %d: %v", n, err)
		case rev == tornCommits+1 && n == frames-1:
			t.Errorf("frame %d: damage was not noticed", n)
		case rev < tornCommits-3:
			t.Errorf("frame %d of %d: opened at revision %d, with acknowledged commits up to %d", n, frames, rev, tornCommits+1)
		}
	}
}
