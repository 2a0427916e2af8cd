// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"fmt"
	"sync"
	"testing"

	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"

	"portico.dev/portico/store/sqlite"
)

// All writes during the sync of a commit are one commit.
func TestGroupCommit(t *testing.T) {
	e := open(t, sqlite.Options{Dir: t.TempDir(), Retention: -1})
	const writers = 100
	var mu sync.Mutex
	commits, started, release := 0, make(chan struct{}), make(chan struct{})
	err := e.SetFault(t.Context(), func(point string) error {
		if point != "before commit" {
			return nil
		}
		mu.Lock()
		commits++
		first := commits == 1
		mu.Unlock()
		if first {
			close(started)
			<-release
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	write := func(n int) {
		wg.Go(func() {
			resp, err := e.Client().Kubernetes.OptimisticPut(t.Context(), fmt.Sprintf("/k/%d", n), []byte("1"), 0, etcdk8s.PutOptions{})
			if err != nil || !resp.Succeeded {
				t.Errorf("write %d: %+v, %v", n, resp, err)
			}
		})
	}
	write(0)
	<-started
	for n := range writers {
		write(n + 1)
	}
	waitFor(t, func() bool { return e.Queued() == writers })
	close(release)
	wg.Wait()
	if commits != 2 {
		t.Errorf("%d commits for one write and then %d at once, want 2", commits, writers)
	}
	if got := e.Index().Revision(); got != writers+2 {
		t.Errorf("revision is %d: each write has its own", got)
	}
}

// Each durability has its level of synchronous, also after the connection was
// reopened.
func TestDurability(t *testing.T) {
	for durability, want := range map[sqlite.Durability]int64{"": 2, sqlite.Full: 2, sqlite.Normal: 1} {
		e := open(t, sqlite.Options{Dir: t.TempDir(), Durability: durability})
		got, err := e.Synchronous(t.Context())
		if err != nil || got != want {
			t.Errorf("durability %q: synchronous is %d, want %d (%v)", durability, got, want, err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
