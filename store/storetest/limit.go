// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"

	"portico.dev/portico/store"
	"portico.dev/portico/store/limit"
)

// limitPatience bounds the waiting for a counter; a test that gets there has
// failed.
const limitPatience = 30 * time.Second

// RunLimit fills a store that others could write to as well up to a limit, and
// makes room again. The keys of the store are below prefix.
func RunLimit(t *testing.T, open Open, prefix string) {
	inner := open(t, time.Second)
	for i := range 250 { // more than one page
		mustPut(t, inner, fmt.Sprintf("%s/before/%d", prefix, i), 1000)
	}
	const bytesAtMost = 1 << 20
	counter := limit.NewCounter(t.Context(), inner.Client(), prefix+"/")
	defer counter.Close()
	b, used := limit.New(t.Context(), inner, limit.Options{Bytes: bytesAtMost, Meter: counter}), counter.Used
	waitUsed(t, used, 250*1000)

	// Another process writes.
	first := mustPut(t, inner, prefix+"/other", 600_000)
	waitUsed(t, used, 850_000)
	if _, err := put(t, b, prefix+"/new", 300_000); !isFull(err) {
		t.Errorf("write to a full store: %v, want that it is full", err)
	}
	mustPut(t, b, prefix+"/small", 10_000)
	waitUsed(t, used, 860_000)
	resp, err := b.Client().Kubernetes.OptimisticDelete(t.Context(), prefix+"/other", first, etcdk8s.DeleteOptions{GetOnFailure: true})
	if err != nil || !resp.Succeeded {
		t.Fatalf("delete from a full store: %+v, %v", resp, err)
	}
	waitUsed(t, used, 260_000)
	mustPut(t, b, prefix+"/new", 300_000)
	waitUsed(t, used, 560_000)
}

func isFull(err error) bool {
	var full *limit.FullError
	return errors.As(err, &full)
}

// put makes a key of so many bytes with its value, and returns its revision.
func put(t *testing.T, b store.Backend, key string, size int) (int64, error) {
	t.Helper()
	resp, err := b.Client().Kubernetes.OptimisticPut(t.Context(), key, bytes.Repeat([]byte("v"), size-len(key)), 0, etcdk8s.PutOptions{})
	if err == nil && !resp.Succeeded {
		t.Fatalf("put %s: it is there already", key)
	}
	return resp.Revision, err
}

func mustPut(t *testing.T, b store.Backend, key string, size int) int64 {
	t.Helper()
	rev, err := put(t, b, key, size)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func waitUsed(t *testing.T, used func() (int64, bool), want int64) {
	t.Helper()
	deadline := time.After(limitPatience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		got, known := used()
		if known && got == want {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%d bytes are counted (known: %v), want %d", got, known, want)
		case <-tick.C:
		}
	}
}
