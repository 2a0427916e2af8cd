// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mvcc_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"portico.dev/portico/store/mvcc"
)

// do publishes one transaction.
func do(t *testing.T, x *mvcc.Index, fn func(*mvcc.Tx) error) {
	t.Helper()
	b := x.Begin()
	if _, err := b.Do(fn); err != nil {
		t.Fatal(err)
	}
	x.Publish(b)
}

func put(t *testing.T, x *mvcc.Index, key, value string) {
	t.Helper()
	do(t, x, func(tx *mvcc.Tx) error {
		_, _, err := tx.Put(key, []byte(value), 0)
		return err
	})
}

func list(v mvcc.View) (out []string) {
	v.Ascend("\x00", mvcc.ToEnd, func(kv *mvccpb.KeyValue) bool {
		out = append(out, string(kv.Key)+"="+string(kv.Value))
		return true
	})
	return out
}

func TestViewDoesNotChange(t *testing.T) {
	x := mvcc.New()
	put(t, x, "a", "1")
	put(t, x, "c", "1")
	before := x.View()
	put(t, x, "a", "2")
	put(t, x, "b", "1")
	do(t, x, func(tx *mvcc.Tx) error { tx.Delete("c"); return nil })
	if diff := cmp.Diff([]string{"a=1", "c=1"}, list(before)); diff != "" {
		t.Errorf("a view changed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a=2", "b=1"}, list(x.View())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNothingIsVisibleBeforePublish(t *testing.T) {
	x := mvcc.New()
	put(t, x, "a", "1")
	b := x.Begin()
	rev, err := b.Do(func(tx *mvcc.Tx) error {
		_, _, err := tx.Put("a", []byte("2"), 0)
		return err
	})
	if err != nil || rev != 3 {
		t.Fatalf("got revision %d, %v", rev, err)
	}
	// Only a later transaction of the batch sees it.
	if _, err := b.Do(func(tx *mvcc.Tx) error {
		if got := string(tx.Get("a").Value); got != "2" {
			t.Errorf("the batch sees %q", got)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := list(x.View()); got[0] != "a=1" {
		t.Errorf("visible before it was published: %q", got)
	}
}

func TestFailedTransactionLeavesNothing(t *testing.T) {
	x := mvcc.New()
	put(t, x, "a", "1")
	failure := errors.New("no")
	b := x.Begin()
	for i := range 3 {
		_, err := b.Do(func(tx *mvcc.Tx) error {
			if _, _, err := tx.Put("a", fmt.Appendf(nil, "ok %d", i), 0); err != nil {
				return err
			}
			return tx.Grant(int64(i+1), time.Minute, time.Now())
		})
		if err != nil {
			t.Fatal(err)
		}
		rev, err := b.Do(func(tx *mvcc.Tx) error {
			tx.Delete("a")
			_, _, err := tx.Put("b", nil, int64(i+1))
			if err != nil {
				return err
			}
			if err := tx.Grant(99, time.Minute, time.Now()); err != nil {
				return err
			}
			return failure
		})
		if !errors.Is(err, failure) || rev != int64(i+3) {
			t.Fatalf("got revision %d, %v", rev, err)
		}
	}
	x.Publish(b)
	if diff := cmp.Diff([]string{"a=ok 2"}, list(x.View())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := x.View().Get("a"); got.Version != 4 || got.ModRevision != 5 || got.CreateRevision != 2 {
		t.Errorf("got %v", got)
	}
	if got := len(x.Leases()); got != 3 {
		t.Errorf("%d leases, want 3", got)
	}
}

func TestViewIsOvertakenByCompaction(t *testing.T) {
	x := mvcc.New()
	put(t, x, "a", "1")
	old := x.View()
	put(t, x, "a", "2")
	put(t, x, "a", "3")
	do(t, x, func(tx *mvcc.Tx) error { return tx.Compact(3) })
	if _, err := x.View().At(2); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("a new view of the compacted: %v", err)
	}
	garbage, done := x.Sweep(100)
	if diff := cmp.Diff([]int64{1}, garbage); diff != "" || !done {
		t.Errorf("garbage, done %v (-want +got):\n%s", done, diff)
	}
	list(old)
	if err := old.Err(); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("an old view does not notice: %v", err)
	}
	at, err := x.View().At(3)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a=2"}, list(at)); diff != "" || at.Err() != nil {
		t.Errorf("at the compact revision, %v (-want +got):\n%s", at.Err(), diff)
	}
}

// A sweep in chunks of any size finds all unreachable versions and no others.
func TestSweepInChunks(t *testing.T) {
	for _, chunk := range []int{1, 2, 3, 100} {
		x := mvcc.New()
		for _, key := range []string{"a", "b", "a", "-b", "a", "b", "-a", "c"} { // revisions 2 to 9, changes 1 to 8
			if key[0] == '-' {
				do(t, x, func(tx *mvcc.Tx) error { tx.Delete(key[1:]); return nil })
			} else {
				put(t, x, key, "v")
			}
		}
		do(t, x, func(tx *mvcc.Tx) error { return tx.Compact(8) })
		var garbage []int64
		for done := false; !done; {
			var more []int64
			more, done = x.Sweep(chunk)
			garbage = append(garbage, more...)
		}
		// The rest is b of revision 7 and c of revision 9.
		if diff := cmp.Diff([]int64{1, 2, 4, 3, 5, 7}, garbage); diff != "" {
			t.Errorf("chunks of %d (-want +got):\n%s", chunk, diff)
		}
		if diff := cmp.Diff([]string{"b=v", "c=v"}, list(x.View())); diff != "" {
			t.Errorf("chunks of %d (-want +got):\n%s", chunk, diff)
		}
	}
}

func TestPrefixRevision(t *testing.T) {
	x := mvcc.New()
	if got := x.PrefixRevision("p/"); got != 1 {
		t.Errorf("of an empty store: %d, want 1", got)
	}
	put(t, x, "p/a", "1")
	put(t, x, "q/a", "1")
	put(t, x, "p", "not under it")
	if got := x.PrefixRevision("p/"); got != 2 {
		t.Errorf("got %d, want 2", got)
	}
	do(t, x, func(tx *mvcc.Tx) error { tx.Delete("p/a"); return nil })
	if got := x.PrefixRevision("p/"); got != 5 {
		t.Errorf("after a deletion: got %d, want 5", got)
	}
}

func TestLoaderRefusesWhatCannotBe(t *testing.T) {
	kv := func(key string, create, mod, version int64) *mvccpb.KeyValue {
		return &mvccpb.KeyValue{Key: []byte(key), CreateRevision: create, ModRevision: mod, Version: version}
	}
	type row struct {
		seq int64
		kv  *mvccpb.KeyValue
	}
	cases := map[string]struct {
		compacted int64
		rows      []row
		ok        bool
	}{
		"two versions":                   {0, []row{{1, kv("a", 2, 2, 1)}, {2, kv("a", 2, 3, 2)}}, true},
		"two keys at one revision":       {0, []row{{1, kv("a", 2, 2, 1)}, {2, kv("b", 2, 2, 1)}}, true},
		"gap in what was compacted":      {9, []row{{1, kv("a", 2, 4, 3)}, {7, kv("b", 6, 8, 2)}, {9, kv("a", 2, 10, 4)}}, true},
		"first row lost":                 {0, []row{{2, kv("a", 3, 3, 1)}}, false},
		"gap after what was compacted":   {4, []row{{1, kv("a", 2, 2, 1)}, {9, kv("b", 6, 6, 1)}}, false},
		"sequence goes back":             {0, []row{{2, kv("a", 2, 2, 1)}, {1, kv("b", 3, 3, 1)}}, false},
		"revision goes back":             {0, []row{{1, kv("a", 2, 2, 1)}, {2, kv("b", 3, 3, 1)}, {3, kv("c", 2, 2, 1)}}, false},
		"update of nothing":              {0, []row{{1, kv("a", 1, 2, 2)}}, false},
		"deletion of nothing":            {0, []row{{1, kv("a", 0, 2, 0)}}, false},
		"version skipped":                {0, []row{{1, kv("a", 2, 2, 1)}, {2, kv("a", 2, 3, 3)}}, false},
		"create revision changed":        {0, []row{{1, kv("a", 2, 2, 1)}, {2, kv("a", 3, 3, 2)}}, false},
		"no key":                         {0, []row{{1, kv("", 2, 2, 1)}}, false},
		"creation after deletion":        {0, []row{{1, kv("a", 2, 2, 1)}, {2, kv("a", 0, 3, 0)}, {3, kv("a", 4, 4, 1)}}, true},
		"update after deletion":          {0, []row{{1, kv("a", 2, 2, 1)}, {2, kv("a", 0, 3, 0)}, {3, kv("a", 2, 4, 2)}}, false},
		"update of a compacted deletion": {3, []row{{1, kv("a", 2, 2, 1)}, {2, kv("a", 0, 3, 0)}, {3, kv("a", 2, 4, 2)}}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			l := mvcc.NewLoader(c.compacted)
			var err error
			for _, r := range c.rows {
				if err = l.Add(r.seq, r.kv); err != nil {
					break
				}
			}
			if (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}
