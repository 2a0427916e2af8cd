// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"
	"google.golang.org/grpc/metadata"

	"portico.dev/portico/store/sqlite"
)

// next returns the next n events of a watch in a readable form, and the revision
// of the last.
func next(t testing.TB, ch clientv3.WatchChan, n int) (events []string) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for len(events) < n {
		select {
		case r, ok := <-ch:
			if !ok || r.Err() != nil {
				t.Fatalf("watch ended after %d of %d events: %v", len(events), n, r.Err())
			}
			for _, e := range r.Events {
				text := fmt.Sprintf("%d %s %s=%s", e.Kv.ModRevision, e.Type, e.Kv.Key, e.Kv.Value)
				if e.PrevKv != nil {
					text += fmt.Sprintf(" was %s", e.PrevKv.Value)
				}
				events = append(events, text)
			}
		case <-timeout:
			t.Fatalf("no more events after %q", events)
		}
	}
	return events
}

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	e := open(t, sqlite.Options{Dir: dir})
	c, ctx := e.Client(), t.Context()
	live := c.Watch(ctx, "/w/", clientv3.WithPrefix(), clientv3.WithPrevKV())
	put(t, c, "/w/a", "1")
	put(t, c, "/other", "1")
	put(t, c, "/w/a", "2")
	put(t, c, "/w/b", "1")
	if _, err := c.KV.Delete(ctx, "/w/a"); err != nil {
		t.Fatal(err)
	}
	put(t, c, "/w/a", "3")
	want := []string{
		"2 PUT /w/a=1",
		"4 PUT /w/a=2 was 1",
		"5 PUT /w/b=1",
		"6 DELETE /w/a= was 2",
		"7 PUT /w/a=3",
	}
	if diff := cmp.Diff(want, next(t, live, 5)); diff != "" {
		t.Errorf("live (-want +got):\n%s", diff)
	}
	past := func(e *sqlite.Engine, when string) {
		t.Helper()
		from := e.Client().Watch(ctx, "/w/", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithRev(4))
		if diff := cmp.Diff(want[1:], next(t, from, 4)); diff != "" {
			t.Errorf("from revision 4, %s (-want +got):\n%s", when, diff)
		}
		one := e.Client().Watch(ctx, "/w/b", clientv3.WithRev(1))
		if diff := cmp.Diff(want[2:3], next(t, one, 1)); diff != "" {
			t.Errorf("one key, %s (-want +got):\n%s", when, diff)
		}
	}
	past(e, "before the restart")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	past(open(t, sqlite.Options{Dir: dir}), "after the restart")
}

// A watch from the future delivers nothing of the present.
func TestWatchFromTheFuture(t *testing.T) {
	e := open(t, sqlite.Options{Dir: t.TempDir()})
	c := e.Client()
	w := c.Watch(t.Context(), "/", clientv3.WithPrefix(), clientv3.WithRev(4))
	for range 4 {
		put(t, c, "/a", "v")
	}
	if diff := cmp.Diff([]string{"4 PUT /a=v", "5 PUT /a=v"}, next(t, w, 2)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWatchOfCompactedRevision(t *testing.T) {
	e := open(t, sqlite.Options{Dir: t.TempDir(), Retention: -1})
	c, ctx := e.Client(), t.Context()
	put(t, c, "/a", "1")
	rev := put(t, c, "/a", "2")
	put(t, c, "/a", "3")
	if err := e.Compact(ctx, rev); err != nil {
		t.Fatal(err)
	}
	w := c.Watch(ctx, "/a", clientv3.WithRev(rev))
	r := <-w
	if !errors.Is(r.Err(), rpctypes.ErrCompacted) || !r.Canceled || r.CompactRevision != rev+1 {
		t.Fatalf("got %+v, %v", r, r.Err())
	}
	if _, open := <-w; open {
		t.Error("the watch goes on")
	}
	// The revision in the answer works.
	w = c.Watch(ctx, "/a", clientv3.WithRev(r.CompactRevision), clientv3.WithPrevKV())
	if diff := cmp.Diff([]string{"4 PUT /a=3 was 2"}, next(t, w, 1)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A reader that is so slow that history passes it gets an error; it never
// misses a change silently.
func TestSlowWatchIsCompacted(t *testing.T) {
	e := open(t, sqlite.Options{Dir: t.TempDir(), Retention: -1, Durability: sqlite.Normal})
	c, ctx := e.Client(), t.Context()
	w := c.Watch(ctx, "/", clientv3.WithPrefix(), clientv3.WithPrevKV())
	var rev int64
	for i := range 200 {
		rev = put(t, c, fmt.Sprintf("/%d", i%10), "v")
	}
	if err := e.Compact(ctx, rev); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return rows(t, e) == 10 })
	last := int64(1)
	for r := range w {
		if err := r.Err(); err != nil {
			if !errors.Is(err, rpctypes.ErrCompacted) {
				t.Errorf("got %v", err)
			}
			return
		}
		for _, event := range r.Events {
			if event.Kv.ModRevision != last+1 {
				t.Fatalf("revision %d came after %d", event.Kv.ModRevision, last)
			}
			last = event.Kv.ModRevision
			if last > 11 && event.PrevKv == nil {
				t.Fatalf("revision %d came without its previous value", last)
			}
		}
		if last == rev {
			return // it was not so slow after all
		}
	}
	t.Errorf("the watch ended at revision %d without an error", last)
}

func TestProgress(t *testing.T) {
	e := open(t, sqlite.Options{Dir: t.TempDir(), ProgressInterval: 20 * time.Millisecond})
	c, ctx := e.Client(), t.Context()
	put(t, c, "/a", "1")
	periodic := c.Watch(ctx, "/none", clientv3.WithProgressNotify())
	if r := <-periodic; !r.IsProgressNotify() || r.Header.Revision != 2 {
		t.Errorf("periodic progress: %+v", r)
	}
	pods := metadata.AppendToOutgoingContext(ctx, "resource", "pods")
	mine := c.Watch(pods, "/none")
	others := c.Watch(metadata.AppendToOutgoingContext(ctx, "resource", "nodes"), "/none")
	rev := put(t, c, "/b", "1")
	if err := c.RequestProgress(pods); err != nil {
		t.Fatal(err)
	}
	if r := <-mine; !r.IsProgressNotify() || r.Header.Revision != rev {
		t.Errorf("requested progress: %+v", r)
	}
	select {
	case r := <-others:
		t.Errorf("progress for another resource: %+v", r)
	default:
	}
}

// Many writers, watchers that come and go, compaction: each watcher sees every
// change of its range once and in order, each progress notification is true.
func TestConcurrency(t *testing.T) {
	e := open(t, sqlite.Options{Dir: t.TempDir(), Durability: sqlite.Normal, Retention: 20 * time.Millisecond, ProgressInterval: 3 * time.Millisecond})
	c := e.Client()
	const writers, writes = 8, 150
	ctx, stop := context.WithCancel(t.Context())
	var watchers, work sync.WaitGroup
	for i := range 12 {
		watchers.Go(func() { followRange(ctx, t, c, fmt.Sprintf("/c/%d/", i%4)) })
	}
	for i := range writers {
		work.Go(func() {
			for n := range writes {
				key := fmt.Sprintf("/c/%d/%d", (i+n)%4, n%5)
				increment(ctx, t, c.Kubernetes, key)
			}
		})
	}
	work.Wait()
	total := 0
	for key, value := range contents(t, c, "/c/", 0) {
		if !strings.HasPrefix(value, "x") {
			t.Errorf("%s holds %q", key, value)
		}
		total += len(value)
	}
	if total != writers*writes {
		t.Errorf("%d of %d increments are there", total, writers*writes)
	}
	stop()
	watchers.Wait()
}

// increment adds one to a unary number with compare-and-swap.
func increment(ctx context.Context, t *testing.T, k etcdk8s.Interface, key string) {
	current, err := k.Get(ctx, key, etcdk8s.GetOptions{})
	if err != nil {
		t.Error(err)
		return
	}
	kv := current.KV
	for {
		value, rev := []byte("x"), int64(0)
		if kv != nil {
			value, rev = append(value, kv.Value...), kv.ModRevision
		}
		resp, err := k.OptimisticPut(ctx, key, value, rev, etcdk8s.PutOptions{GetOnFailure: true})
		if err != nil {
			t.Error(err)
			return
		}
		if resp.Succeeded {
			return
		}
		kv = resp.KV
	}
}

// followRange lists and watches like a reflector and checks the results.
func followRange(ctx context.Context, t *testing.T, c *etcdk8s.Client, prefix string) {
	for ctx.Err() == nil {
		list, err := c.Kubernetes.List(ctx, prefix, etcdk8s.ListOptions{})
		if err != nil {
			return
		}
		seen := map[string]string{}
		for _, kv := range list.Kvs {
			seen[string(kv.Key)] = string(kv.Value)
		}
		last := list.Revision
		for r := range c.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithProgressNotify(), clientv3.WithRev(last+1)) {
			if errors.Is(r.Err(), rpctypes.ErrCompacted) {
				break // list again
			}
			if r.IsProgressNotify() && r.Header.Revision < last {
				t.Errorf("progress at %d after a change at %d", r.Header.Revision, last)
			}
			if r.IsProgressNotify() {
				last = r.Header.Revision
			}
			for _, e := range r.Events {
				key, prev := string(e.Kv.Key), ""
				if e.PrevKv != nil {
					prev = string(e.PrevKv.Value)
				}
				if e.Kv.ModRevision <= last || prev != seen[key] {
					t.Errorf("%s: change at %d after %d, previous value %q, known %q", key, e.Kv.ModRevision, last, prev, seen[key])
					return
				}
				last, seen[key] = e.Kv.ModRevision, string(e.Kv.Value)
			}
		}
	}
}
