// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mvcc_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"portico.dev/portico/store/mvcc"
)

// live returns the expected LiveBytes.
func live(x *mvcc.Index) (n int64) {
	kvs, _ := x.View().Range("", "\x00", 0)
	for _, kv := range kvs {
		n += int64(len(kv.Key) + len(kv.Value))
	}
	return n
}

// After any writes, undone batches, compactions and sweeps, the counts are
// those of the versions that are there.
func TestBytesAreCounted(t *testing.T) {
	x := mvcc.New()
	random := rand.New(rand.NewPCG(1, 2))
	for step := range 2000 {
		b := x.Begin()
		for range random.IntN(4) {
			_, err := b.Do(func(t *mvcc.Tx) error {
				key := fmt.Sprintf("/k/%d", random.IntN(20))
				if random.IntN(3) == 0 {
					t.Delete(key)
				} else if _, _, err := t.Put(key, []byte(strings.Repeat("v", random.IntN(100))), 0); err != nil {
					return err
				}
				if random.IntN(5) == 0 {
					return errors.New("undone")
				}
				return nil
			})
			if err != nil && err.Error() != "undone" {
				t.Fatal(err)
			}
		}
		x.Publish(b)
		if step%50 == 0 && x.Revision() > x.CompactRevision()+10 {
			b := x.Begin()
			if _, err := b.Do(func(t *mvcc.Tx) error { return t.Compact(x.Revision() - 5) }); err != nil {
				t.Fatal(err)
			}
			x.Publish(b)
		}
		if step%20 == 0 {
			x.Sweep(30)
		}
		if got, want := x.LiveBytes(), live(x); got != want {
			t.Fatalf("step %d: %d live bytes are counted, %d are there", step, got, want)
		}
	}
	b := x.Begin()
	if _, err := b.Do(func(t *mvcc.Tx) error { return t.Compact(x.Revision()) }); err != nil {
		t.Fatal(err)
	}
	x.Publish(b)
	for done := false; !done; {
		_, done = x.Sweep(30)
	}
	if n := x.HistoryBytes(); n != 0 {
		t.Errorf("%d bytes of history are counted where there is none", n)
	}
}

func TestRevisionKeeping(t *testing.T) {
	x := mvcc.New()
	put := func(value string) int64 {
		b := x.Begin()
		rev, err := b.Do(func(t *mvcc.Tx) error { _, _, err := t.Put("k", []byte(value), 0); return err })
		if err != nil {
			t.Fatal(err)
		}
		x.Publish(b)
		return rev
	}
	put(strings.Repeat("a", 9))            // history from the second on: 10 bytes
	second := put(strings.Repeat("b", 19)) // from the third on: 20 more
	third := put("c")
	for bytes, want := range map[int64]int64{30: 0, 29: second, 20: second, 19: third, 0: third} {
		if got := x.RevisionKeeping(bytes); got != want {
			t.Errorf("to keep %d bytes: compact to %d, want %d", bytes, got, want)
		}
	}
	if n := x.HistoryBytes(); n != 30 {
		t.Errorf("%d bytes of history, want 30", n)
	}
}
