// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"

	"portico.dev/portico/store/sqlite"
)

// Under steady churn the file and its WAL stay within a small multiple of the
// live data, and space of a burst is given back.
func TestSizeIsBounded(t *testing.T) {
	dir := t.TempDir()
	e := open(t, sqlite.Options{Dir: dir, Durability: sqlite.Normal, Retention: -1})
	c := e.Client()
	value := string(bytes.Repeat([]byte("x"), 16<<10))
	const keys, rounds = 40, 400 // 256 MiB written, 640 KiB live
	var largestFile, largestWAL int64
	for range rounds {
		// From several clients, so that the writer never has a pause.
		var wg sync.WaitGroup
		for key := range keys {
			wg.Go(func() { put(t, c, fmt.Sprintf("/churn/%02d", key), value) })
		}
		wg.Wait()
		if err := e.Compact(t.Context(), e.Index().Revision()); err != nil {
			t.Fatal(err)
		}
		file, wal := size(t, dir, ""), size(t, dir, "-wal")
		largestFile, largestWAL = max(largestFile, file), max(largestWAL, wal)
	}
	t.Logf("largest file %d MiB, largest WAL %d MiB", largestFile>>20, largestWAL>>20)
	if limit := int64(24 << 20); largestFile > limit {
		t.Errorf("the file grew to %d bytes, want at most %d", largestFile, limit)
	}
	if limit := int64(40 << 20); largestWAL > limit {
		t.Errorf("the WAL grew to %d bytes, want at most %d", largestWAL, limit)
	}
	waitFor(t, func() bool { return rows(t, e) == keys })

	burst(t, c, 2000, value)
	if _, err := c.KV.Delete(t.Context(), "/burst/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	if err := e.Compact(t.Context(), e.Index().Revision()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return rows(t, e) == keys })
	waitFor(t, func() bool { return freePages(t, e) < 1024 })
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := sqlite.Check(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if limit := int64(12 << 20); report.FileBytes > limit {
		t.Errorf("after a burst of 32 MiB was deleted the file has %d bytes, want at most %d", report.FileBytes, limit)
	}
}

// A reader of the file, for a backup, makes the WAL grow and does nothing else:
// writes go on, and it starts over when the reader is gone.
func TestReaderOfTheFile(t *testing.T) {
	dir := t.TempDir()
	e := open(t, sqlite.Options{Dir: dir, Durability: sqlite.Normal, Retention: -1})
	c := e.Client()
	put(t, c, "/k/before", "1")
	db, err := sql.Open("sqlite3", filepath.Join(dir, databaseFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	reader, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Rollback() }()
	count := func() (n int) {
		if err := reader.QueryRowContext(t.Context(), `SELECT count(*) FROM log`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(); n != 1 {
		t.Fatalf("%d changes, want 1", n)
	}
	value := string(bytes.Repeat([]byte("x"), 1<<20))
	for n := range 100 {
		put(t, c, fmt.Sprintf("/k/%d", n%5), value)
		if err := e.Ready(); err != nil {
			t.Fatal(err)
		}
	}
	if wal := size(t, dir, "-wal"); wal < 90<<20 {
		t.Errorf("the WAL has %d bytes, though there is a reader", wal)
	}
	if n := count(); n != 1 {
		t.Errorf("%d changes in the transaction of the reader, want 1", n)
	}
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		put(t, c, fmt.Sprintf("/k/%d", n%5), value)
	}
	if wal := size(t, dir, "-wal"); wal > 40<<20 {
		t.Errorf("the WAL has %d bytes after the reader is gone", wal)
	}
}

func size(t *testing.T, dir, suffix string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, databaseFile+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// burst creates n keys from several goroutines.
func burst(t *testing.T, c *etcdk8s.Client, n int, value string) {
	t.Helper()
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := worker; i < n; i += 8 {
				resp, err := c.Kubernetes.OptimisticPut(t.Context(), fmt.Sprintf("/burst/%05d", i), []byte(value), 0, etcdk8s.PutOptions{})
				if err != nil || !resp.Succeeded {
					t.Errorf("create %d: %+v, %v", i, resp, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// A reader in the past and a writer do not disturb each other, and the past does
// not change while it is read.
func TestReadsDoNotSeeLaterWrites(t *testing.T) {
	e := open(t, sqlite.Options{Dir: t.TempDir(), Durability: sqlite.Normal, Retention: -1})
	c := e.Client()
	var rev int64
	for key := range 100 {
		rev = put(t, c, fmt.Sprintf("/p/%03d", key), "before")
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := c.KV.Put(t.Context(), fmt.Sprintf("/p/%03d", n%200), "after"); err != nil {
				t.Error(err)
				return
			}
			if _, err := c.KV.Delete(t.Context(), fmt.Sprintf("/p/%03d", (n+50)%200)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 300 {
		got := contents(t, c, "/p/", rev)
		if len(got) != 100 {
			t.Fatalf("%d keys at revision %d, want 100", len(got), rev)
		}
		for key, value := range got {
			if value != "before" {
				t.Fatalf("%s is %q at revision %d", key, value, rev)
			}
		}
	}
	close(stop)
	wg.Wait()
}
