// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"portico.dev/portico/store"
	"portico.dev/portico/store/sqlite"
)

// stored returns all keys and values.
func stored(t *testing.T, e *sqlite.Engine) map[string]string {
	t.Helper()
	resp, err := e.Client().KV.Get(t.Context(), "\x00", clientv3.WithFromKey())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, kv := range resp.Kvs {
		all[string(kv.Key)] = string(kv.Value)
	}
	return all
}

func opened(t *testing.T, dir string) *sqlite.Engine {
	t.Helper()
	e, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return e
}

func saved(t *testing.T, dir string, files map[string][]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "snapshot")
	if _, err := sqlite.SaveSnapshot(t.Context(), dir, path, files); err != nil {
		t.Fatal(err)
	}
	return path
}

// While writers go on, a snapshot has every write that was acknowledged before
// it began, none that began after it was done, and of each writer no write
// without the ones before it.
func TestSnapshotOfAStoreInUse(t *testing.T) {
	dir := t.TempDir()
	e := opened(t, dir)
	const writers = 8
	var acknowledged [writers]atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var storm sync.WaitGroup
	for w := range writers {
		storm.Go(func() {
			for n := int64(1); ctx.Err() == nil; n++ {
				// Every other write replaces one key, the others add keys.
				for _, key := range []string{fmt.Sprintf("/last/%d", w), fmt.Sprintf("/all/%d/%d", w, n)} {
					if _, err := e.Client().KV.Put(ctx, key, fmt.Sprint(n)); err != nil {
						return
					}
				}
				acknowledged[w].Store(n)
			}
		})
	}
	t.Cleanup(storm.Wait)
	t.Cleanup(stop)
	for round := range 5 {
		waitFor(t, func() bool { return acknowledged[0].Load() > int64(100*round) })
		var before [writers]int64
		for w := range writers {
			before[w] = acknowledged[w].Load()
		}
		path := filepath.Join(t.TempDir(), "snapshot")
		s, err := sqlite.SaveSnapshot(t.Context(), dir, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		after := e.Index().Revision()
		if s.Revision > after {
			t.Errorf("snapshot has revision %d, and the store had %d later", s.Revision, after)
		}
		target := t.TempDir()
		if _, _, err := sqlite.RestoreSnapshot(t.Context(), path, target); err != nil {
			t.Fatal(err)
		}
		got := stored(t, opened(t, target))
		for w := range writers {
			var last int64
			if _, err := fmt.Sscan(got[fmt.Sprintf("/last/%d", w)], &last); err != nil && before[w] > 0 {
				t.Fatalf("writer %d: %v", w, err)
			}
			if last < before[w] {
				t.Errorf("writer %d: write %d is in the snapshot, %d was acknowledged before", w, last, before[w])
			}
			for n := int64(1); n < last; n++ {
				if _, ok := got[fmt.Sprintf("/all/%d/%d", w, n)]; !ok {
					t.Errorf("writer %d: write %d is in the snapshot, %d before it is not", w, last, n)
				}
			}
			if _, ok := got[fmt.Sprintf("/all/%d/%d", w, last+1)]; ok {
				t.Errorf("writer %d: a write after the last one is there", w)
			}
		}
	}
	if err := e.Ready(); err != nil {
		t.Errorf("the store after snapshots: %v", err)
	}
}

func TestSnapshotIsTheWholeStore(t *testing.T) {
	dir := written(t)
	files := map[string][]byte{"pki/ca.crt": []byte("certificate"), "pki/empty": {}}
	path := saved(t, dir, files)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the snapshot: %v, %v", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(left) > 0 {
		t.Errorf("there is something beside the snapshot: %v, %v", left, err)
	}
	s, err := sqlite.CheckSnapshot(t.Context(), path)
	if err != nil || len(s.Problems) > 0 {
		t.Fatalf("check: %+v, %v", s, err)
	}
	target := t.TempDir()
	restored, got, err := sqlite.RestoreSnapshot(t.Context(), path, target)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(files, got); diff != "" {
		t.Errorf("files (-saved +restored):\n%s", diff)
	}
	original, copied := opened(t, dir), opened(t, target)
	if diff := cmp.Diff(stored(t, original), stored(t, copied)); diff != "" {
		t.Errorf("keys (-saved +restored):\n%s", diff)
	}
	if want := original.Index().Revision() + sqlite.RestoreGap; copied.Index().Revision() != want || restored.Revision != want {
		t.Errorf("restored store is at revision %d, reported as %d, want %d", copied.Index().Revision(), restored.Revision, want)
	}
}

// A client that saw the lost store at a later revision than the snapshot's must
// not go on as if nothing had happened.
func TestClientsOfTheLostStoreListAnew(t *testing.T) {
	dir := t.TempDir()
	e := opened(t, dir)
	put(t, e.Client(), "/a", "1")
	path := saved(t, dir, nil)
	lost := put(t, e.Client(), "/a", "lost")

	target := t.TempDir()
	if _, _, err := sqlite.RestoreSnapshot(t.Context(), path, target); err != nil {
		t.Fatal(err)
	}
	r := opened(t, target)
	for name, rev := range map[string]int64{"the past": 2, "the lost future": lost, "just after it": lost + 1} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		watch := <-r.Client().Watch(ctx, "/a", clientv3.WithRev(rev))
		cancel()
		if !errors.Is(watch.Err(), rpctypes.ErrCompacted) {
			t.Errorf("watch from %s (%d): %v, want that it was compacted", name, rev, watch.Err())
		}
	}
	// A value that the client read then cannot be written back.
	resp, err := r.Client().KV.Txn(t.Context()).If(clientv3.Compare(clientv3.ModRevision("/a"), "=", lost)).Then(clientv3.OpPut("/a", "stale")).Commit()
	if err != nil || resp.Succeeded {
		t.Errorf("write over what was lost: %+v, %v", resp, err)
	}
	if rev := put(t, r.Client(), "/a", "2"); rev <= lost+1_000_000 {
		t.Errorf("the first write has revision %d, and the lost store was at %d", rev, lost)
	}
	// The same again: a restored store has snapshots, too.
	again := t.TempDir()
	if _, _, err := sqlite.RestoreSnapshot(t.Context(), saved(t, target, nil), again); err != nil {
		t.Fatal(err)
	}
	if got := stored(t, opened(t, again)); !maps.Equal(got, map[string]string{"/a": "2"}) {
		t.Errorf("restored from a restored store: %v", got)
	}
}

// A lease ends when it would have ended.
func TestLeasesAreRestored(t *testing.T) {
	dir := t.TempDir()
	e := opened(t, dir)
	long, err := e.Client().Grant(t.Context(), 3600)
	if err != nil {
		t.Fatal(err)
	}
	short, err := e.Client().Grant(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for key, lease := range map[string]clientv3.LeaseID{"/long": long.ID, "/short": short.ID} {
		if _, err := e.Client().KV.Put(t.Context(), key, "x", clientv3.WithLease(lease)); err != nil {
			t.Fatal(err)
		}
	}
	path := saved(t, dir, nil)
	target := t.TempDir()
	if _, _, err := sqlite.RestoreSnapshot(t.Context(), path, target); err != nil {
		t.Fatal(err)
	}
	r := opened(t, target)
	waitFor(t, func() bool { return maps.Equal(stored(t, r), map[string]string{"/long": "x"}) })
	if left, err := r.Client().TimeToLive(t.Context(), long.ID); err != nil || left.TTL < 3000 || left.TTL > 3600 {
		t.Errorf("time to live: %+v, %v", left, err)
	}
}

// The files of a process that was killed are saved as they are, and stay.
func TestSnapshotOfAKilledStoreChangesNothing(t *testing.T) {
	dir := t.TempDir()
	e := opened(t, dir)
	put(t, e.Client(), "/a", "1")
	killed := t.TempDir() // as the disk is now, with the write in the log
	for _, name := range []string{databaseFile, databaseFile + "-wal"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(killed, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := filesOf(t, killed)
	path := saved(t, killed, nil)
	if diff := cmp.Diff(before, filesOf(t, killed)); diff != "" {
		t.Errorf("the store was changed (-before +after):\n%s", diff)
	}
	target := t.TempDir()
	if _, _, err := sqlite.RestoreSnapshot(t.Context(), path, target); err != nil {
		t.Fatal(err)
	}
	if got := stored(t, opened(t, target)); !maps.Equal(got, map[string]string{"/a": "1"}) {
		t.Errorf("restored: %v", got)
	}
}

// filesOf are the contents of the files that matter.
func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range []string{databaseFile, databaseFile + "-wal"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(b)
	}
	return all
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	good, err := os.ReadFile(saved(t, written(t), map[string][]byte{"pki/ca.crt": []byte("certificate")}))
	if err != nil {
		t.Fatal(err)
	}
	sql := func(statement string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			t.Helper()
			alterFile(t, path, statement)
		}
	}
	cut := func(n int) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			t.Helper()
			if err := os.Truncate(path, int64(n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, path string)
		want   error
	}{
		"empty":                 {cut(0), store.ErrCorrupt},
		"torn in the header":    {cut(50), store.ErrCorrupt},
		"torn in the middle":    {cut(len(good) / 2), store.ErrCorrupt},
		"without its last page": {cut(len(good) - 8192), store.ErrCorrupt},
		"a write is missing":    {sql(`DELETE FROM log WHERE seq = (SELECT max(seq) FROM log)`), store.ErrCorrupt},
		"a value is different":  {sql(`UPDATE log SET value = x'00' WHERE seq = (SELECT max(seq) FROM log)`), store.ErrCorrupt},
		"a file is different":   {sql(`UPDATE file SET content = x'00'`), store.ErrCorrupt},
		"a file is missing":     {sql(`DELETE FROM file`), store.ErrCorrupt},
		"no digest":             {sql(`DELETE FROM digest`), store.ErrCorrupt},
		"a newer version":       {sql(`UPDATE meta SET value = 2 WHERE name = 'snapshot_version'`), store.ErrNewerSchema},
		"a newer schema":        {sql(`UPDATE meta SET value = 2 WHERE name = 'schema_version'`), store.ErrNewerSchema},
		"of something else":     {sql(`PRAGMA application_id = 1`), store.ErrForeign},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "snapshot")
			if err := os.WriteFile(path, good, 0o600); err != nil {
				t.Fatal(err)
			}
			c.damage(t, path)
			target := t.TempDir()
			if _, _, err := sqlite.RestoreSnapshot(t.Context(), path, target); !errors.Is(err, c.want) {
				t.Errorf("restore: %v, want %v", err, c.want)
			}
			if left, err := os.ReadDir(target); err != nil || len(left) > 0 {
				t.Errorf("something was restored: %v, %v", left, err)
			}
		})
	}
}

// Any byte of the file that is flipped is noticed, or means nothing.
func TestFlippedBytesOfASnapshot(t *testing.T) {
	path := saved(t, written(t), nil)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := restoredKeys(t, path)
	for at := 0; at < len(good); at += 997 {
		bad := []byte(string(good))
		bad[at] ^= 0x10
		damaged := filepath.Join(t.TempDir(), "snapshot")
		if err := os.WriteFile(damaged, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		target := t.TempDir()
		if _, _, err := sqlite.RestoreSnapshot(t.Context(), damaged, target); err != nil {
			continue
		}
		if diff := cmp.Diff(want, stored(t, opened(t, target))); diff != "" {
			t.Errorf("byte %d was flipped and restored (-want +got):\n%s", at, diff)
		}
	}
}

func restoredKeys(t *testing.T, path string) map[string]string {
	t.Helper()
	target := t.TempDir()
	if _, _, err := sqlite.RestoreSnapshot(t.Context(), path, target); err != nil {
		t.Fatal(err)
	}
	return stored(t, opened(t, target))
}

func TestSnapshotsReplaceNothing(t *testing.T) {
	dir := written(t)
	path := saved(t, dir, nil)
	if _, err := sqlite.SaveSnapshot(t.Context(), dir, path, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("save over a snapshot: %v", err)
	}
	if _, _, err := sqlite.RestoreSnapshot(t.Context(), path, dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("restore over a store: %v", err)
	}
	e := opened(t, dir)
	if _, _, err := sqlite.RestoreSnapshot(t.Context(), path, dir); !errors.Is(err, store.ErrLocked) {
		t.Errorf("restore over a store in use: %v", err)
	}
	if got := len(stored(t, e)); got != 3 {
		t.Errorf("the store has %d keys", got)
	}
}

// A damaged store has no snapshot that looks sound.
func TestDamagedStoreIsNotSaved(t *testing.T) {
	dir := written(t)
	alter(t, dir, `UPDATE log SET value = x'00' WHERE seq = (SELECT max(seq) FROM log)`)
	path := filepath.Join(t.TempDir(), "snapshot")
	if _, err := sqlite.SaveSnapshot(t.Context(), dir, path, nil); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("save: %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
		t.Errorf("something was left: %v, %v", left, err)
	}
}

// A snapshot is never opened as a store.
func TestSnapshotIsNoStore(t *testing.T) {
	dir := t.TempDir()
	if err := os.Rename(saved(t, written(t), nil), filepath.Join(dir, databaseFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir}); !errors.Is(err, store.ErrForeign) || !strings.Contains(err.Error(), databaseFile) {
		t.Errorf("open: %v", err)
	}
}
