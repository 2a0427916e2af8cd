// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"portico.dev/portico/store"
	"portico.dev/portico/store/sqlite"
)

// dataDirectory makes a data directory with a store and a key.
func dataDirectory(t *testing.T, key string) string {
	t.Helper()
	dir := t.TempDir()
	engine, err := sqlite.Open(t.Context(), sqlite.Options{Dir: filepath.Join(dir, storeDir)})
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Close(); err != nil {
		t.Fatal(err)
	}
	if err := writePKI(dir, map[string][]byte{pkiDir + "/ca.key": []byte(key)}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// snapshotOf returns the snapshot of a data directory.
func snapshotOf(t *testing.T, dir string) []byte {
	t.Helper()
	var out, errOut bytes.Buffer
	if code := Main(t.Context(), Streams{In: strings.NewReader(""), Out: &out, Err: &errOut}, []string{"snapshot", "save", dir, "-"}); code != 0 {
		t.Fatalf("save: %s", errOut.String())
	}
	return out.Bytes()
}

// replaced runs the command on a directory.
func replaced(t *testing.T, snapshot []byte, dir string) (said string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = Main(t.Context(), Streams{In: bytes.NewReader(snapshot), Out: &out, Err: &errOut}, []string{"snapshot", "restore", "--replace", "-", dir})
	return errOut.String(), code
}

// has checks the key in a data directory, and that nothing else is there but a
// store that can be used.
func has(t *testing.T, dir, key string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, pkiDir, "ca.key"))
	if err != nil || string(got) != key {
		t.Errorf("the key is %q, %v; want %q", got, err, key)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{pkiDir, storeDir}; !slices.Equal(names, want) {
		t.Errorf("the directory has %v, want %v", names, want)
	}
	found, err := sqlite.Check(t.Context(), filepath.Join(dir, storeDir))
	if err != nil || len(found.Problems) > 0 {
		t.Errorf("the store: %v, %v", found.Problems, err)
	}
	if err := refuseHalfRestored(dir); err != nil {
		t.Error(err)
	}
}

func TestSnapshotReplacesData(t *testing.T) {
	snapshot, dir := snapshotOf(t, dataDirectory(t, "new")), dataDirectory(t, "old")
	if said, code := replaced(t, snapshot, dir); code != 0 {
		t.Fatal(said)
	}
	has(t, dir, "new")
	empty := filepath.Join(t.TempDir(), "not there")
	if said, code := replaced(t, snapshot, empty); code != 0 {
		t.Fatal(said)
	}
	has(t, empty, "new")
}

// TestDamagedSnapshotReplacesNothing, such as one whose stream was cut off.
func TestDamagedSnapshotReplacesNothing(t *testing.T) {
	snapshot, dir := snapshotOf(t, dataDirectory(t, "new")), dataDirectory(t, "old")
	for _, length := range []int{0, 100, len(snapshot) / 2, len(snapshot) - 1} {
		if said, code := replaced(t, snapshot[:length], dir); code == 0 {
			t.Errorf("%d of %d bytes were restored: %s", length, len(snapshot), said)
		}
		has(t, dir, "old")
	}
}

// TestDataInUseAreNotReplaced.
func TestDataInUseAreNotReplaced(t *testing.T) {
	snapshot, dir := snapshotOf(t, dataDirectory(t, "new")), dataDirectory(t, "old")
	engine, err := sqlite.Open(t.Context(), sqlite.Options{Dir: filepath.Join(dir, storeDir)})
	if err != nil {
		t.Fatal(err)
	}
	if said, code := replaced(t, snapshot, dir); code == 0 || !strings.Contains(said, "hint: end the porticod") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if err := engine.Close(); err != nil {
		t.Fatal(err)
	}
	has(t, dir, "old")
}

// meanwhile is a context that does something once, when it is first looked at.
type meanwhile struct {
	context.Context
	do func()
}

func (m meanwhile) Done() <-chan struct{} {
	m.do()
	return m.Context.Done()
}

// TestReplacingLocksOutAStart: no porticod starts while a directory's data are
// replaced, also where there are none yet, and where an earlier replacement that
// was cut off is finished first.
func TestReplacingLocksOutAStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "snapshot")
	if err := os.WriteFile(file, snapshotOf(t, dataDirectory(t, "new")), 0o600); err != nil {
		t.Fatal(err)
	}
	cut := dataDirectory(t, "old")
	if _, err := prepare(t.Context(), file, filepath.Join(cut, restoringDir)); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"data": dataDirectory(t, "old"), "no data": t.TempDir(), "cut off": cut} {
		t.Run(name, func(t *testing.T) {
			tried := false
			ctx := meanwhile{t.Context(), sync.OnceFunc(func() {
				tried = true
				engine, err := sqlite.Open(t.Context(), sqlite.Options{Dir: filepath.Join(dir, storeDir)})
				if err == nil {
					_ = engine.Close()
				}
				if !errors.Is(err, store.ErrLocked) {
					t.Errorf("a start meanwhile: %v, want %v", err, store.ErrLocked)
				}
			})}
			var out bytes.Buffer
			if err := replaceBySnapshot(ctx, Streams{Out: &out}, file, dir); err != nil || !tried {
				t.Errorf("tried %t, %v", tried, err)
			}
			has(t, dir, "new")
		})
	}
}

// TestReplacingFinishesAfterEachStep: a replacement is cut off after each of its
// steps. Until the new data have been put into their places, porticod refuses the
// directory; the same command finishes.
func TestReplacingFinishesAfterEachStep(t *testing.T) {
	snapshot := snapshotOf(t, dataDirectory(t, "new"))
	for cut := 0; ; cut++ {
		dir := dataDirectory(t, "old")
		file := filepath.Join(t.TempDir(), "snapshot")
		if err := os.WriteFile(file, snapshot, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := prepare(t.Context(), file, filepath.Join(dir, replacingDir)); err != nil {
			t.Fatal(err)
		}
		if err := refuseHalfRestored(dir); err != nil {
			t.Errorf("before the point of no return: %v", err)
		}
		if err := os.Rename(filepath.Join(dir, replacingDir), filepath.Join(dir, restoringDir)); err != nil {
			t.Fatal(err)
		}
		steps := replacingSteps(dir)
		for _, step := range steps[:cut] {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		if whole := there(filepath.Join(dir, storeDir)) && there(filepath.Join(dir, pkiDir)) && !there(filepath.Join(dir, replacedDir)); !whole && cut < 4 {
			if refuseHalfRestored(dir) == nil {
				t.Errorf("after step %d porticod would use what is there", cut)
			}
		}
		if refuseHalfRestored(dir) == nil && there(filepath.Join(dir, replacedDir)) {
			t.Errorf("after step %d porticod would start, and the old keys would stay", cut)
		}
		t.Run(fmt.Sprintf("after step %d", cut), func(t *testing.T) {
			if said, code := replaced(t, snapshot, dir); code != 0 {
				t.Fatal(said)
			}
			has(t, dir, "new")
		})
		if cut == len(steps) {
			if cut < 8 {
				t.Errorf("there are %d steps only", cut)
			}
			return
		}
	}
}

// TestReplacingIsNotMisledByAnEarlyStart: a porticod that was started halfway has
// made keys of its own.
func TestReplacingIsNotMisledByAnEarlyStart(t *testing.T) {
	snapshot, dir := snapshotOf(t, dataDirectory(t, "new")), dataDirectory(t, "old")
	file := filepath.Join(t.TempDir(), "snapshot")
	if err := os.WriteFile(file, snapshot, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := prepare(t.Context(), file, filepath.Join(dir, restoringDir)); err != nil {
		t.Fatal(err)
	}
	if err := replacingSteps(dir)[0](); err != nil {
		t.Fatal(err)
	}
	if err := writePKI(dir, map[string][]byte{pkiDir + "/ca.key": []byte("early")}); err != nil {
		t.Fatal(err)
	}
	if err := settleReplacing(dir); err != nil {
		t.Fatal(err)
	}
	has(t, dir, "new")
}
