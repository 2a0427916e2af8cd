// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package limit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"portico.dev/portico/store"
	"portico.dev/portico/store/limit"
	"portico.dev/portico/store/sqlite"
)

const most = 1 << 20

type essential struct{}

// limited is an SQLite store with a limit of 1 MiB.
type limited struct {
	t       *testing.T
	engine  *sqlite.Engine
	backend store.Backend
	refused atomic.Int32
	revs    map[string]int64
}

func newLimited(t *testing.T) *limited {
	t.Helper()
	e, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir(), Durability: sqlite.Normal, Retention: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	l := &limited{t: t, engine: e, revs: map[string]int64{}}
	l.backend = limit.New(t.Context(), e, limit.Options{
		Bytes: most, Meter: e,
		Essential: func(ctx context.Context) bool { return ctx.Value(essential{}) != nil },
		Refused:   func() { l.refused.Add(1) },
	})
	return l
}

// put writes a value of so many bytes, key included, as upstream does.
func (l *limited) put(ctx context.Context, key string, size int) error {
	resp, err := l.backend.Client().Kubernetes.OptimisticPut(ctx, key, bytes.Repeat([]byte("v"), size-len(key)), l.revs[key], etcdk8s.PutOptions{})
	if err == nil && !resp.Succeeded {
		l.t.Fatalf("put %s: conflict", key)
	}
	if err == nil {
		l.revs[key] = resp.Revision
	}
	return err
}

func (l *limited) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *limited) refuses(what string, err error) {
	l.t.Helper()
	if full := (*limit.FullError)(nil); !errors.As(err, &full) || !apierrors.IsForbidden(err) {
		l.t.Errorf("%s: %v, want that the store is full (403)", what, err)
	}
}

// A tenant fills the store. Writes that make room go on, and so do small
// updates of existing objects; after a deletion there is room again.
func TestAttackStoreIsFilled(t *testing.T) {
	l := newLimited(t)
	ctx := t.Context()
	for i := range 4 {
		l.must(l.put(ctx, fmt.Sprintf("/o/%d", i), most/4))
	}
	before := l.engine.Index().Revision()
	l.refuses("a new object", l.put(ctx, "/o/new", 100))
	l.refuses("an update that grows", l.put(ctx, "/o/0", most/4+1025))
	if rev := l.engine.Index().Revision(); rev != before || l.engine.Index().View().Get("/o/new") != nil {
		t.Error("a refused write left a trace")
	}
	if n := l.refused.Load(); n != 2 {
		t.Errorf("%d refusals were reported, want 2", n)
	}
	l.must(l.put(ctx, "/o/0", most/4))                                           // does not grow
	l.must(l.put(ctx, "/o/0", most/4+1024))                                      // the mark of a deletion
	l.must(l.put(context.WithValue(ctx, essential{}, true), "/o/lease", 10<<10)) // the system's
	l.must(l.put(ctx, "/o/1", most/8))                                           // shrinks
	resp, err := l.backend.Client().Kubernetes.OptimisticDelete(ctx, "/o/2", l.revs["/o/2"], etcdk8s.DeleteOptions{})
	if err != nil || !resp.Succeeded {
		t.Fatalf("delete: %+v, %v", resp, err)
	}
	l.must(l.put(ctx, "/o/new", most/4))
}

// The reserve is no second store: it ends as well.
func TestAttackReserveIsFilled(t *testing.T) {
	l := newLimited(t)
	l.must(l.put(t.Context(), "/o", most))
	var err error
	writes := 0
	for size := most; err == nil && writes < 2*most/1024; writes++ {
		size += 1024
		err = l.put(t.Context(), "/o", size)
	}
	l.refuses("growing by and by", err)
	if writes != 1+most/16/1024 {
		t.Errorf("%d small updates passed, want those of a sixteenth", writes-1)
	}
	l.refuses("an essential write", l.put(context.WithValue(t.Context(), essential{}, true), "/new", 100))
	l.must(l.put(t.Context(), "/o", most/2))
}

// Many writes at once do not pass the limit together.
func TestAttackManyWritesAtOnce(t *testing.T) {
	l := newLimited(t)
	var running sync.WaitGroup
	for i := range 64 {
		running.Go(func() {
			_, _ = l.backend.Client().Kubernetes.OptimisticPut(t.Context(), fmt.Sprintf("/o/%d", i), make([]byte, most/16), 0, etcdk8s.PutOptions{})
		})
	}
	running.Wait()
	if used, _ := l.engine.Used(); used > most || used < most/2 {
		t.Errorf("%d bytes are used of %d", used, most)
	}
}

// An update of an object that has changed is a conflict, also when the store is
// full: its writer reads again.
func TestConflictWhenFull(t *testing.T) {
	l := newLimited(t)
	l.must(l.put(t.Context(), "/o", most))
	for name, expected := range map[string]int64{"changed": l.revs["/o"] - 1, "gone": 0} {
		key := "/o"
		if name == "gone" {
			key, expected = "/gone", 5
		}
		resp, err := l.backend.Client().Kubernetes.OptimisticPut(t.Context(), key, make([]byte, 2*most), expected, etcdk8s.PutOptions{GetOnFailure: true})
		if err != nil || resp.Succeeded {
			t.Errorf("%s: %+v, %v; want a conflict", name, resp, err)
		}
	}
}

func TestTextForTenants(t *testing.T) {
	text := (&limit.FullError{Used: 512<<20 - 3, Limit: 512 << 20}).Error()
	if want := "the store of this virtual cluster is full: 512Mi of 512Mi are used; deleting objects makes room"; text != want {
		t.Errorf("got %q, want %q", text, want)
	}
}

func TestExclusiveStaysExclusive(t *testing.T) {
	l := newLimited(t)
	if _, ok := l.backend.(store.Exclusive); !ok {
		t.Error("a limited SQLite store is not exclusive any more: every list would wait for every write")
	}
}

// The counter follows a store that it does not own.
func TestCounter(t *testing.T) {
	e := newLimited(t).engine
	client := e.Client()
	put := func(key, value string) {
		t.Helper()
		if _, err := client.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 450 { // more than two pages
		put(fmt.Sprintf("/ours/%03d", i), "12345")
	}
	put("/theirs/0", "not counted")
	c := limit.NewCounter(t.Context(), client, "/ours/")
	defer c.Close()
	const each = int64(len("/ours/000") + 5)
	counts := func(what string, want int64) {
		t.Helper()
		deadline := time.Now().Add(30 * time.Second)
		for {
			got, known := c.Used()
			if known && got == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d bytes are counted (known: %v), want %d", what, got, known, want)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	counts("what was there", 450*each)
	put("/ours/new", strings.Repeat("x", 100))
	put("/ours/000", "1234567")
	if _, err := client.Delete(t.Context(), "/ours/001"); err != nil {
		t.Fatal(err)
	}
	put("/theirs/1", "not counted")
	counts("what has changed", 449*each+2+int64(len("/ours/new")+100))
	put("/ours/new", "")
	counts("a smaller value", 449*each+2+int64(len("/ours/new")))
}
