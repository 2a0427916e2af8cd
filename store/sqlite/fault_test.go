// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"

	"portico.dev/portico/store"
	"portico.dev/portico/store/sqlite"
)

// A write whose commit fails is refused, also if it had reached the disk after
// all, and nothing else is changed by it.
func TestFailedCommit(t *testing.T) {
	for _, point := range []string{"before commit", "after commit"} {
		t.Run(point, func(t *testing.T) {
			dir := t.TempDir()
			e := open(t, sqlite.Options{Dir: dir})
			c, ctx := e.Client(), t.Context()
			rev := put(t, c, "/a", "1")
			var broken atomic.Bool
			broken.Store(true)
			err := e.SetFault(ctx, func(at string) error {
				if broken.Load() && (at == point || at == "reopen") {
					return syscall.EIO
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				_, err := c.Kubernetes.OptimisticPut(ctx, "/a", []byte("2"), rev, etcdk8s.PutOptions{})
				if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, syscall.EIO) {
					t.Fatalf("put on a broken disk: %v", err)
				}
			}
			if _, err := c.Grant(ctx, 100); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("lease on a broken disk: %v", err)
			}
			if err := e.Ready(); !errors.Is(err, syscall.EIO) {
				t.Errorf("ready on a broken disk: %v", err)
			}
			if diff := cmp.Diff(map[string]string{"/a": "1"}, contents(t, c, "/", 0)); diff != "" {
				t.Errorf("reads on a broken disk (-want +got):\n%s", diff)
			}
			// The store is idle now; it recovers without being asked.
			broken.Store(false)
			waitFor(t, func() bool { return e.Ready() == nil })
			if got := put(t, c, "/b", "3"); got != rev+1 {
				t.Errorf("revision after the recovery is %d, want %d", got, rev+1)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			e = open(t, sqlite.Options{Dir: dir})
			if diff := cmp.Diff(map[string]string{"/a": "1", "/b": "3"}, contents(t, e.Client(), "/", 0)); diff != "" {
				t.Errorf("after the restart (-want +got):\n%s", diff)
			}
			if n := len(e.Index().Leases()); n != 0 {
				t.Errorf("%d leases are left of a grant that failed", n)
			}
		})
	}
}

// SQLite's own error, at a real limit, in the middle of a batch.
func TestFullDisk(t *testing.T) {
	e := open(t, sqlite.Options{Dir: t.TempDir()})
	c, ctx := e.Client(), t.Context()
	put(t, c, "/a", "1")
	if err := e.LimitPages(ctx, 4); err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("x"), 1<<20)
	_, err := c.Kubernetes.OptimisticPut(ctx, "/big", big, 0, etcdk8s.PutOptions{})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("put on a full disk: %v", err)
	}
	// The next connection has no limit, as if room had been made.
	waitFor(t, func() bool { return e.Ready() == nil })
	if _, err := c.Kubernetes.OptimisticPut(ctx, "/big", big, 0, etcdk8s.PutOptions{}); err != nil {
		t.Fatalf("put after room was made: %v", err)
	}
}

// Compaction that meets a broken disk is finished later.
func TestCompactionOnBrokenDisk(t *testing.T) {
	e := open(t, sqlite.Options{Dir: t.TempDir(), Retention: -1})
	c, ctx := e.Client(), t.Context()
	var rev int64
	for i := range 50 {
		rev = put(t, c, "/a", fmt.Sprint(i))
	}
	var broken atomic.Bool
	broken.Store(true)
	if err := e.SetFault(ctx, func(at string) error {
		if broken.Load() {
			return syscall.ENOSPC
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := e.Compact(ctx, rev); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("compaction on a broken disk: %v", err)
	}
	if got := e.CompactRevision(); got != 0 {
		t.Errorf("compact revision is %d though it is not on disk", got)
	}
	broken.Store(false)
	if err := e.Compact(ctx, rev); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return rows(t, e) == 1 })
}
