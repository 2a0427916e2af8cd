// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kine_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"

	"portico.dev/portico/store"
	"portico.dev/portico/store/kine"
	"portico.dev/portico/test/servers"
)

// Another process takes a revision, and commits or gives up after the next one
// is committed. A client that lists and then watches, or watches from before,
// must see every change once and in order.
func TestCommitOutOfOrder(t *testing.T) {
	const early, late, end = "/portico/test/early", "/portico/test/late", "/portico/test/end"
	each(t, servers.SQLOptions{}, func(t *testing.T, _ *servers.Server, o kine.Options) {
		b := open(t, o)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for round, other := range []struct {
			commits bool
			after   time.Duration
		}{
			{true, 300 * time.Millisecond}, {false, 300 * time.Millisecond},
			// kine's polling goes past a gap after a second.
			{false, 1500 * time.Millisecond}, {true, 1500 * time.Millisecond},
		} {
			first, err := b.Client().Kubernetes.List(ctx, "/portico/test/", etcdk8s.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			early, late, end := early+fmt.Sprint(round), late+fmt.Sprint(round), end+fmt.Sprint(round)
			tx := begin(ctx, t, o, late)
			if err := put(ctx, b, early, "1"); err != nil {
				t.Fatal(err)
			}
			watched, listed := make(chan []string, 1), make(chan etcdk8s.ListResponse, 1)
			go func() { watched <- until(ctx, t, b, first.Revision+1, end) }()
			go func() {
				list, err := b.Client().Kubernetes.List(ctx, "/portico/test/", etcdk8s.ListOptions{})
				if err != nil {
					t.Error(err)
				}
				listed <- list
			}()
			var list etcdk8s.ListResponse
			select {
			case list = <-listed: // It did not wait for the other.
				err = finish(tx, other.commits)
			case <-time.After(other.after):
				err = finish(tx, other.commits)
				list = <-listed
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := put(ctx, b, end, "1"); err != nil {
				t.Fatal(err)
			}
			want := []string{early, end}
			if other.commits {
				want = []string{late, early, end}
			}
			if got := <-watched; !slices.Equal(got, want) {
				t.Errorf("round %d: watched %q, want %q", round, got, want)
			}
			var got []string
			for _, kv := range list.Kvs {
				if kv.ModRevision > first.Revision {
					got = append(got, string(kv.Key))
				}
			}
			got = append(got, until(ctx, t, b, list.Revision+1, end)...)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("round %d: list and watch together show %q, want %q", round, got, want)
			}
		}
	})
}

// More write than there are connections, and kine needs two for each.
func TestManyWriters(t *testing.T) {
	each(t, servers.SQLOptions{}, func(t *testing.T, _ *servers.Server, o kine.Options) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		b := open(t, o)
		const writers, keys = 64, 8
		watched := make(chan int, 1)
		go func() { watched <- len(until(ctx, t, b, 1, "/portico/test/end")) }()
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				for k := range keys {
					if err := put(ctx, b, fmt.Sprintf("/portico/test/%d-%d", w, k), "1"); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if err := put(ctx, b, "/portico/test/end", "1"); err != nil {
			t.Fatal(err)
		}
		if n := <-watched; n != writers*keys+1 {
			t.Errorf("watched %d creations, want %d", n, writers*keys+1)
		}
	})
}

// Rows that were removed from the table by hand are not waited for.
func TestRowRemovedByHand(t *testing.T) {
	each(t, servers.SQLOptions{}, func(t *testing.T, _ *servers.Server, o kine.Options) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		b := open(t, o)
		for _, key := range []string{"a", "b", "c"} {
			if err := put(ctx, b, "/portico/test/"+key, "1"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := database(t, o).ExecContext(ctx, "DELETE FROM kine WHERE name = '/portico/test/b'"); err != nil {
			t.Fatal(err)
		}
		// It begins without a known settled revision.
		list, err := open(t, o).Client().Kubernetes.List(ctx, "/portico/test/", etcdk8s.ListOptions{})
		if err != nil || len(list.Kvs) != 2 {
			t.Errorf("listed %v, %v", list.Kvs, err)
		}
	})
}

func database(t *testing.T, o kine.Options) *sql.DB {
	t.Helper()
	driver, source := "pgx", "postgres://"+servers.SQLUser+":"+servers.SQLPassword+"@"+o.Source
	if o.Database == kine.MySQL {
		driver, source = "mysql", servers.SQLUser+":"+servers.SQLPassword+"@"+o.Source
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// begin creates a key past the store, and has the next revision for it.
func begin(ctx context.Context, t *testing.T, o kine.Options, key string) *sql.Tx {
	t.Helper()
	tx, err := database(t, o).BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO kine(name, created, deleted, create_revision, prev_revision, lease, value)
		VALUES ('`+key+`', 1, 0, 0, 0, 0, '1')`)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func finish(tx *sql.Tx, commits bool) error {
	if commits {
		return tx.Commit()
	}
	return tx.Rollback()
}

// until returns the keys of the events from a revision on, up to and with last.
func until(ctx context.Context, t *testing.T, b store.Backend, revision int64, last string) []string {
	var keys []string
	for resp := range b.Client().Watch(ctx, "/portico/test/", clientv3.WithPrefix(), clientv3.WithRev(revision)) {
		if err := resp.Err(); err != nil {
			t.Error(err)
		}
		for _, e := range resp.Events {
			keys = append(keys, string(e.Kv.Key))
			if string(e.Kv.Key) == last {
				return keys
			}
		}
	}
	t.Errorf("the watch ended after %q", keys)
	return keys
}
