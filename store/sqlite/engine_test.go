// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"
	"go.uber.org/goleak"

	"portico.dev/portico/store"
	"portico.dev/portico/store/sqlite"
)

func TestMain(m *testing.M) {
	if openInOtherProcess() {
		return
	}
	goleak.VerifyTestMain(m)
}

// open opens a store for a test and checks the file when the test is done.
func open(t testing.TB, o sqlite.Options) *sqlite.Engine {
	t.Helper()
	e, err := sqlite.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		report, err := sqlite.Check(context.WithoutCancel(t.Context()), o.Dir)
		if err != nil {
			t.Errorf("check: %v", err)
		}
		if len(report.Problems) > 0 {
			t.Errorf("the store is damaged: %q", report.Problems)
		}
	})
	return e
}

// put writes a key, whether it exists or not, and returns the revision.
func put(t testing.TB, c *etcdk8s.Client, key, value string) int64 {
	t.Helper()
	resp, err := c.KV.Put(t.Context(), key, value)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

// contents returns all keys and values under a prefix at a revision.
func contents(t testing.TB, c *etcdk8s.Client, prefix string, rev int64) map[string]string {
	t.Helper()
	resp, err := c.Kubernetes.List(t.Context(), prefix, etcdk8s.ListOptions{Revision: rev})
	if err != nil {
		t.Fatalf("list %q at %d: %v", prefix, rev, err)
	}
	out := map[string]string{}
	for _, kv := range resp.Kvs {
		out[string(kv.Key)] = string(kv.Value)
	}
	return out
}

func TestRevisionsStartAtOne(t *testing.T) {
	e := open(t, sqlite.Options{Dir: t.TempDir()})
	if got := e.PrefixRevision("/registry/"); got != 1 {
		t.Errorf("prefix revision of an empty store is %d, want 1", got)
	}
	if got := put(t, e.Client(), "/a", "1"); got != 2 {
		t.Errorf("first write has revision %d, want 2", got)
	}
}

func TestCompareAndSwap(t *testing.T) {
	e := open(t, sqlite.Options{Dir: t.TempDir()})
	k := e.Client().Kubernetes
	ctx := t.Context()

	created, err := k.OptimisticPut(ctx, "/a", []byte("1"), 0, etcdk8s.PutOptions{GetOnFailure: true})
	if err != nil || !created.Succeeded {
		t.Fatalf("create: %+v, %v", created, err)
	}
	again, err := k.OptimisticPut(ctx, "/a", []byte("2"), 0, etcdk8s.PutOptions{GetOnFailure: true})
	if err != nil || again.Succeeded || string(again.KV.Value) != "1" || again.Revision != created.Revision {
		t.Fatalf("create of an existing key: %+v, %v", again, err)
	}
	updated, err := k.OptimisticPut(ctx, "/a", []byte("3"), created.Revision, etcdk8s.PutOptions{})
	if err != nil || !updated.Succeeded || updated.Revision != created.Revision+1 {
		t.Fatalf("update: %+v, %v", updated, err)
	}
	got, err := k.Get(ctx, "/a", etcdk8s.GetOptions{})
	if err != nil || got.KV.Version != 2 || got.KV.CreateRevision != created.Revision || got.KV.ModRevision != updated.Revision {
		t.Fatalf("get: %+v, %v", got, err)
	}
	stale, err := k.OptimisticDelete(ctx, "/a", created.Revision, etcdk8s.DeleteOptions{GetOnFailure: true})
	if err != nil || stale.Succeeded || string(stale.KV.Value) != "3" {
		t.Fatalf("delete of an old version: %+v, %v", stale, err)
	}
	deleted, err := k.OptimisticDelete(ctx, "/a", updated.Revision, etcdk8s.DeleteOptions{})
	if err != nil || !deleted.Succeeded || deleted.Revision != updated.Revision+1 {
		t.Fatalf("delete: %+v, %v", deleted, err)
	}
	missing, err := k.OptimisticPut(ctx, "/a", []byte("4"), updated.Revision, etcdk8s.PutOptions{GetOnFailure: true})
	if err != nil || missing.Succeeded || missing.KV != nil {
		t.Fatalf("update of a deleted key: %+v, %v", missing, err)
	}
}

func TestReadsInThePast(t *testing.T) {
	dir := t.TempDir()
	e := open(t, sqlite.Options{Dir: dir})
	c := e.Client()
	first := put(t, c, "/p/a", "1")
	put(t, c, "/p/b", "1")
	second := put(t, c, "/p/a", "2")
	if _, err := c.KV.Delete(t.Context(), "/p/b"); err != nil {
		t.Fatal(err)
	}
	check := func(e *sqlite.Engine) {
		t.Helper()
		c := e.Client()
		for rev, want := range map[int64]map[string]string{
			first:  {"/p/a": "1"},
			second: {"/p/a": "2", "/p/b": "1"},
			0:      {"/p/a": "2"},
		} {
			if diff := cmp.Diff(want, contents(t, c, "/p/", rev)); diff != "" {
				t.Errorf("at revision %d (-want +got):\n%s", rev, diff)
			}
		}
		if _, err := c.Kubernetes.Get(t.Context(), "/p/a", etcdk8s.GetOptions{Revision: second + 2}); !errors.Is(err, rpctypes.ErrFutureRev) {
			t.Errorf("read of the future: %v", err)
		}
	}
	check(e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	check(open(t, sqlite.Options{Dir: dir}))
}

func TestCompaction(t *testing.T) {
	dir := t.TempDir()
	e := open(t, sqlite.Options{Dir: dir, Retention: -1})
	c := e.Client()
	put(t, c, "/gone", "1")
	old := put(t, c, "/a", "1")
	if _, err := c.KV.Delete(t.Context(), "/gone"); err != nil {
		t.Fatal(err)
	}
	at := put(t, c, "/a", "2")
	last := put(t, c, "/a", "3")
	if _, err := c.KV.Compact(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	verify := func(e *sqlite.Engine) {
		t.Helper()
		c := e.Client()
		if got := e.CompactRevision(); got != at {
			t.Errorf("compact revision is %d, want %d", got, at)
		}
		if _, err := c.KV.Get(t.Context(), "/a", clientv3.WithRev(old)); !errors.Is(err, rpctypes.ErrCompacted) {
			t.Errorf("read of a compacted revision: %v", err)
		}
		for rev, want := range map[int64]string{at: "2", last: "3"} {
			if got := contents(t, c, "/", rev)["/a"]; got != want {
				t.Errorf("at revision %d: got %q, want %q", rev, got, want)
			}
		}
		if _, err := c.KV.Compact(t.Context(), at); !errors.Is(err, rpctypes.ErrCompacted) {
			t.Errorf("second compaction: %v", err)
		}
		if _, err := c.KV.Compact(t.Context(), last+1); !errors.Is(err, rpctypes.ErrFutureRev) {
			t.Errorf("compaction of the future: %v", err)
		}
	}
	verify(e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, sqlite.Options{Dir: dir, Retention: -1})
	verify(e)
	if got := put(t, e.Client(), "/a", "4"); got != last+1 {
		t.Errorf("revision after the restart is %d, want %d", got, last+1)
	}
}

// The newest rows can all be deletions that a compaction removed. Revisions go
// on all the same.
func TestRevisionSurvivesCompactionOfEverything(t *testing.T) {
	dir := t.TempDir()
	e := open(t, sqlite.Options{Dir: dir, Retention: -1})
	put(t, e.Client(), "/a", "1")
	resp, err := e.Client().KV.Delete(t.Context(), "/a")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Compact(t.Context(), resp.Header.Revision); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return rows(t, e) == 0 })
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, sqlite.Options{Dir: dir})
	if got := put(t, e.Client(), "/a", "2"); got != resp.Header.Revision+1 {
		t.Errorf("got revision %d, want %d", got, resp.Header.Revision+1)
	}
}

func TestAutomaticCompaction(t *testing.T) {
	e := open(t, sqlite.Options{Dir: t.TempDir(), Retention: 20 * time.Millisecond})
	rev := put(t, e.Client(), "/a", "1")
	rev = max(rev, put(t, e.Client(), "/a", "2"))
	waitFor(t, func() bool { return e.CompactRevision() >= rev && rows(t, e) == 1 })
}

func TestLeases(t *testing.T) {
	dir := t.TempDir()
	e := open(t, sqlite.Options{Dir: dir})
	c, ctx := e.Client(), t.Context()
	granted, err := c.Lease.Grant(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	long, err := c.Lease.Grant(ctx, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for key, id := range map[string]clientv3.LeaseID{"/short": granted.ID, "/moved": granted.ID, "/long": long.ID} {
		if _, err := c.Kubernetes.OptimisticPut(ctx, key, []byte("v"), 0, etcdk8s.PutOptions{LeaseID: id}); err != nil {
			t.Fatal(err)
		}
	}
	put(t, c, "/moved", "stays: a put without the lease takes the key out of it")
	if _, err := c.Kubernetes.OptimisticPut(ctx, "/x", nil, 0, etcdk8s.PutOptions{LeaseID: 42}); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		t.Errorf("put with a lease that does not exist: %v", err)
	}
	watch := c.Watch(ctx, "/short", clientv3.WithPrevKV())
	// Expiry is of wall time, so a restart does not prolong a lease.
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, open := <-watch; open {
		t.Error("a watch outlived its store")
	}
	e = open(t, sqlite.Options{Dir: dir})
	c = e.Client()
	got, err := c.KV.Get(ctx, "/short")
	if err != nil || len(got.Kvs) != 1 {
		t.Fatalf("the key did not survive the restart: %v, %v", got, err)
	}
	watch = c.Watch(ctx, "/short", clientv3.WithPrevKV(), clientv3.WithRev(got.Header.Revision+1))
	resp := <-watch
	if len(resp.Events) != 1 || resp.Events[0].Type != clientv3.EventTypeDelete || resp.Events[0].PrevKv == nil {
		t.Fatalf("expiry is not a delete event: %+v", resp)
	}
	left := contents(t, c, "/", 0)
	if len(left) != 2 || left["/long"] != "v" {
		t.Errorf("left after the expiry: %v", left)
	}
	leases, err := c.Leases(ctx)
	if err != nil || len(leases.Leases) != 1 || leases.Leases[0].ID != long.ID {
		t.Errorf("leases left: %+v, %v", leases, err)
	}
	if _, err := c.Revoke(ctx, long.ID); err != nil {
		t.Fatal(err)
	}
	if left := contents(t, c, "/", 0); len(left) != 1 {
		t.Errorf("left after the revocation: %v", left)
	}
}

func TestTransaction(t *testing.T) {
	e := open(t, sqlite.Options{Dir: t.TempDir()})
	c, ctx := e.Client(), t.Context()
	put(t, c, "/t/a", "1")
	resp, err := c.Txn(ctx).
		If(clientv3.Compare(clientv3.Value("/t/a"), "=", "1"), clientv3.Compare(clientv3.Version("/t/b"), "=", 0)).
		Then(clientv3.OpPut("/t/b", "2"), clientv3.OpDelete("/t/a"), clientv3.OpGet("/t/", clientv3.WithPrefix())).
		Commit()
	if err != nil || !resp.Succeeded {
		t.Fatalf("commit: %+v, %v", resp, err)
	}
	inside := resp.Responses[2].GetResponseRange()
	if len(inside.Kvs) != 1 || string(inside.Kvs[0].Key) != "/t/b" || inside.Kvs[0].ModRevision != resp.Header.Revision {
		t.Errorf("a read inside a transaction does not see its writes: %v", inside)
	}
	if diff := cmp.Diff(map[string]string{"/t/b": "2"}, contents(t, c, "/t/", 0)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, err = c.Txn(ctx).Then(clientv3.OpPut("/t/c", "1"), clientv3.OpPut("/t/c", "2")).Commit()
	if !errors.Is(err, rpctypes.ErrDuplicateKey) {
		t.Errorf("a key put twice: %v", err)
	}
	// A transaction that fails half-way leaves nothing.
	_, err = c.Txn(ctx).Then(clientv3.OpPut("/t/d", "1"), clientv3.OpPut("/t/e", "1", clientv3.WithLease(7))).Commit()
	if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		t.Errorf("a lease that does not exist: %v", err)
	}
	if diff := cmp.Diff(map[string]string{"/t/b": "2"}, contents(t, c, "/t/", 0)); diff != "" {
		t.Errorf("after a failed transaction (-want +got):\n%s", diff)
	}
	if got := put(t, c, "/t/f", "1"); got != resp.Header.Revision+1 {
		t.Errorf("failed transactions took revisions: next is %d, want %d", got, resp.Header.Revision+1)
	}
}

func TestStreamedList(t *testing.T) {
	e := open(t, sqlite.Options{Dir: t.TempDir(), Durability: sqlite.Normal})
	c, ctx := e.Client(), t.Context()
	const n = 1234
	for i := range n {
		put(t, c, fmt.Sprintf("/s/%05d", i), "v")
	}
	stream, err := c.GetStream(ctx, "/s/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	whole, err := clientv3.GetStreamToGetResponse(stream)
	if err != nil || len(whole.Kvs) != n || whole.Count != n || whole.More || whole.Header.Revision != n+1 {
		t.Fatalf("got %d of %d keys, header %v, %v", len(whole.Kvs), whole.Count, whole.Header, err)
	}
	stream, err = c.GetStream(ctx, "/s/", clientv3.WithPrefix(), clientv3.WithLimit(700))
	if err != nil {
		t.Fatal(err)
	}
	part, err := clientv3.GetStreamToGetResponse(stream)
	if err != nil || len(part.Kvs) != 700 || part.Count != n || !part.More {
		t.Fatalf("with a limit: got %d of %d keys, more %v, %v", len(part.Kvs), part.Count, part.More, err)
	}
	// A reader must notice that a stream was cut short.
	cut, cancel := context.WithCancel(ctx)
	stream, err = c.GetStream(cut, "/s/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	got, failed := 0, false
	for r := range stream {
		if r.Err() != nil {
			failed = true
			continue
		}
		got += len(r.Kvs)
	}
	if !failed && got != n {
		t.Errorf("a cancelled stream ended after %d of %d keys without an error", got, n)
	}
}

func TestPrefixRevision(t *testing.T) {
	e := open(t, sqlite.Options{Dir: t.TempDir()})
	c := e.Client()
	e.PrefixRevision("/pods/")
	pods := put(t, c, "/pods/a", "1")
	put(t, c, "/events/a", "1")
	if got := e.PrefixRevision("/pods/"); got != pods {
		t.Errorf("got %d, want %d", got, pods)
	}
	last := put(t, c, "/events/b", "1")
	if got := e.PrefixRevision("/events/"); got != last {
		t.Errorf("a prefix first asked for now: got %d, want the current revision %d", got, last)
	}
}

func TestClosedStore(t *testing.T) {
	e := open(t, sqlite.Options{Dir: t.TempDir()})
	if err := e.Ready(); err != nil {
		t.Errorf("open store is not ready: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.Ready(); !errors.Is(err, store.ErrClosed) {
		t.Errorf("ready after close: %v", err)
	}
	if _, err := e.Client().KV.Put(t.Context(), "/a", "1"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("put after close: %v", err)
	}
}
