// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"

	"portico.dev/portico/store/sqlite"
)

var benchValue = bytes.Repeat([]byte("v"), 1024)

func openBench(b *testing.B, d sqlite.Durability) *sqlite.Engine {
	b.Helper()
	e, err := sqlite.Open(b.Context(), sqlite.Options{Dir: b.TempDir(), Durability: d})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := e.Close(); err != nil {
			b.Error(err)
		}
	})
	return e
}

// fill puts n keys of 1 KiB.
func fill(b *testing.B, c *etcdk8s.Client, n int) {
	b.Helper()
	for from := 0; from < n; from += 100 {
		var ops []clientv3.Op
		for i := from; i < min(from+100, n); i++ {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("/bench/%08d", i), string(benchValue)))
		}
		if _, err := c.Txn(b.Context()).Then(ops...).Commit(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCreate is one durable compare-and-swap after the other.
func BenchmarkCreate(b *testing.B) {
	for _, d := range []sqlite.Durability{sqlite.Full, sqlite.Normal} {
		b.Run("Durability="+string(d), func(b *testing.B) {
			k := openBench(b, d).Client().Kubernetes
			i := 0
			for b.Loop() {
				create(b, k, fmt.Sprintf("/bench/%08d", i))
				i++
			}
		})
	}
}

// BenchmarkCreateParallel has many clients, whose writes share commits.
func BenchmarkCreateParallel(b *testing.B) {
	for _, clients := range []int{8, 64, 256} {
		b.Run(fmt.Sprintf("Clients=%d", clients), func(b *testing.B) {
			k := openBench(b, sqlite.Full).Client().Kubernetes
			var n atomic.Int64
			b.SetParallelism(max(clients/2, 1)) // times GOMAXPROCS, about
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					create(b, k, fmt.Sprintf("/bench/%08d", n.Add(1)))
				}
			})
		})
	}
}

func create(b *testing.B, k etcdk8s.Interface, key string) {
	resp, err := k.OptimisticPut(b.Context(), key, benchValue, 0, etcdk8s.PutOptions{})
	if err != nil || !resp.Succeeded {
		b.Errorf("create %s: %+v, %v", key, resp, err)
	}
}

func BenchmarkUpdate(b *testing.B) {
	k := openBench(b, sqlite.Full).Client().Kubernetes
	rev := int64(0)
	for b.Loop() {
		resp, err := k.OptimisticPut(b.Context(), "/bench/key", benchValue, rev, etcdk8s.PutOptions{})
		if err != nil || !resp.Succeeded {
			b.Fatal(resp, err)
		}
		rev = resp.Revision
	}
}

func BenchmarkGet(b *testing.B) {
	c := openBench(b, sqlite.Normal).Client()
	fill(b, c, 10000)
	b.ReportAllocs()
	for b.Loop() {
		if resp, err := c.Kubernetes.Get(b.Context(), "/bench/00005000", etcdk8s.GetOptions{}); err != nil || resp.KV == nil {
			b.Fatal(resp, err)
		}
	}
}

func BenchmarkRange(b *testing.B) {
	for _, n := range []int{500, 10000} {
		b.Run(fmt.Sprintf("Keys=%d", n), func(b *testing.B) {
			c := openBench(b, sqlite.Normal).Client()
			fill(b, c, n)
			b.ReportAllocs()
			for b.Loop() {
				resp, err := c.Kubernetes.List(b.Context(), "/bench/", etcdk8s.ListOptions{})
				if err != nil || len(resp.Kvs) != n {
					b.Fatal(len(resp.Kvs), err)
				}
			}
		})
	}
}

// BenchmarkWatch is the time from a write until all watchers have it.
func BenchmarkWatch(b *testing.B) {
	for _, watchers := range []int{1, 1000} {
		b.Run(fmt.Sprintf("Watchers=%d", watchers), func(b *testing.B) {
			c := openBench(b, sqlite.Normal).Client()
			all := make([]clientv3.WatchChan, watchers)
			for i := range all {
				all[i] = c.Watch(b.Context(), "/bench/", clientv3.WithPrefix(), clientv3.WithPrevKV())
			}
			for b.Loop() {
				if _, err := c.KV.Put(b.Context(), "/bench/key", "v"); err != nil {
					b.Fatal(err)
				}
				for _, w := range all {
					if r := <-w; r.Err() != nil || len(r.Events) != 1 {
						b.Fatal(r)
					}
				}
			}
		})
	}
}

// BenchmarkOpen is the start on an existing store.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{1000, 100000} {
		b.Run(fmt.Sprintf("Keys=%d", n), func(b *testing.B) {
			dir := b.TempDir()
			reopen := func() *sqlite.Engine {
				e, err := sqlite.Open(b.Context(), sqlite.Options{Dir: dir, Durability: sqlite.Normal})
				if err != nil {
					b.Fatal(err)
				}
				return e
			}
			e := reopen()
			fill(b, e.Client(), n)
			if err := e.Close(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := reopen().Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
