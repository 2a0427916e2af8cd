// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"bytes"
	"testing"
	"time"

	"portico.dev/portico/store/sqlite"
)

// A tenant overwrites a big object again and again: each version would be kept
// for minutes, in memory and on disk.
func TestAttackUpdatesFillTheHistory(t *testing.T) {
	const most = 1 << 20
	e, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir(), Durability: sqlite.Normal, Retention: time.Hour, MaxHistory: most})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	value := bytes.Repeat([]byte("v"), 100<<10)
	for range 200 {
		if _, err := e.Client().Put(t.Context(), "/big", string(value)); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool { return e.Index().HistoryBytes() <= most })
	if used, _ := e.Used(); used != int64(len("/big")+len(value)) {
		t.Errorf("%d bytes are used, want those of the one value", used)
	}
	// Rows go after the memory that stands for them.
	waitFor(t, func() bool { return rows(t, e) <= 12 })
	if e.Index().HistoryBytes() == 0 {
		t.Error("all history was given up, also what there was room for")
	}
}

// The used bytes are known again after a restart, with any part of history
// compacted.
func TestUsedBytesSurviveARestart(t *testing.T) {
	options := sqlite.Options{Dir: t.TempDir(), Durability: sqlite.Normal, Retention: -1}
	open := func() *sqlite.Engine {
		e, err := sqlite.Open(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := open()
	c := e.Client()
	for _, key := range []string{"/a", "/b", "/c", "/b", "/a"} {
		if _, err := c.Put(t.Context(), key, key+"-value"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Delete(t.Context(), "/b"); err != nil {
		t.Fatal(err)
	}
	want := int64(2 * (2 + 8))
	for _, step := range []struct {
		what    string
		compact int64
		history int64
	}{{"with all history", 0, 10 + 10 + 10 + 2}, {"with some", 5, 10 + 10 + 2}, {"with none", 7, 0}} {
		if step.compact > 0 {
			if err := e.Compact(t.Context(), step.compact); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		e = open()
		waitFor(t, func() bool { return e.Index().HistoryBytes() == step.history })
		if used, known := e.Used(); used != want || !known {
			t.Errorf("%s: %d bytes are used (%v), want %d", step.what, used, known, want)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
