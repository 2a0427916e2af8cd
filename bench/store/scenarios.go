// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"
)

const valueSize = 1 << 10

var value = bytes.Repeat([]byte("x"), valueSize)

// watchers is how many watch in the scenario of the fan-out.
const watchers = 1000

// scenario is something that clients do, measured with different numbers of them.
type scenario struct {
	name    string
	clients []int
	measure func(ctx context.Context, sides []*side, clients int) (map[string]*sample, error)
}

// scenarios are those that the options ask for.
func scenarios(o options) (wanted []scenario) {
	inTurns := func(ask request) func(context.Context, []*side, int) (map[string]*sample, error) {
		return func(ctx context.Context, sides []*side, clients int) (map[string]*sample, error) {
			return turns(ctx, sides, clients, o, ask)
		}
	}
	for _, s := range []scenario{
		{"put", []int{1, 8, 64, 256}, func(ctx context.Context, sides []*side, clients int) (map[string]*sample, error) {
			return turns(ctx, sides, clients, o, create(fmt.Sprint("put", clients)))
		}},
		{"compare-and-swap", []int{1, 8, 64, 256}, inTurns(swap(&sync.Map{}, 1024))},
		{"get", []int{1, 8, 64, 256}, inTurns(get(o.listed))},
		{"range of 500", []int{1, 8, 64}, inTurns(list(500))},
		{fmt.Sprintf("range of %d", o.listed), []int{1, 8}, inTurns(list(o.listed))},
		{fmt.Sprintf("write until seen by %d watchers", watchers), []int{1}, func(ctx context.Context, sides []*side, _ int) (map[string]*sample, error) {
			return fanOut(ctx, sides, o.fanOuts)
		}},
	} {
		if strings.Contains(s.name, o.only) {
			wanted = append(wanted, s)
		}
	}
	return wanted
}

// create puts a key that is not there.
func create(prefix string) request {
	return func(ctx context.Context, s *side, n int) error {
		resp, err := s.client.Kubernetes.OptimisticPut(ctx, fmt.Sprintf("/%s/%09d", prefix, n), value, 0, etcdk8s.PutOptions{})
		if err == nil && !resp.Succeeded {
			err = fmt.Errorf("create %d: it is there", n)
		}
		return err
	}
}

// swap measures the update of an object: read it, write it if unchanged. Only
// the write is its own; each number has its key, so no other client interferes.
func swap(revisions *sync.Map, keys int) request {
	type at struct {
		side string
		key  int
	}
	locks := make([]sync.Mutex, keys)
	return func(ctx context.Context, s *side, n int) error {
		key := n % keys
		locks[key].Lock()
		defer locks[key].Unlock()
		var rev int64
		if known, ok := revisions.Load(at{s.name, key}); ok {
			rev = known.(int64)
		}
		resp, err := s.client.Kubernetes.OptimisticPut(ctx, fmt.Sprintf("/swap/%06d", key), value, rev, etcdk8s.PutOptions{GetOnFailure: true})
		if err == nil && !resp.Succeeded {
			err = fmt.Errorf("swap of key %d at revision %d failed", key, rev)
		}
		revisions.Store(at{s.name, key}, resp.Revision)
		return err
	}
}

func get(keys int) request {
	return func(ctx context.Context, s *side, n int) error {
		resp, err := s.client.Kubernetes.Get(ctx, listKey(n*7919%keys), etcdk8s.GetOptions{})
		if err == nil && resp.KV == nil {
			err = fmt.Errorf("key %d is not there", n)
		}
		return err
	}
}

func listKey(n int) string { return fmt.Sprintf("/list/%06d", n) }

// list reads a page from the start of a prefix.
func list(size int) request {
	return func(ctx context.Context, s *side, _ int) error {
		resp, err := s.client.Kubernetes.List(ctx, "/list/", etcdk8s.ListOptions{Limit: int64(size)})
		if err == nil && len(resp.Kvs) != size {
			err = fmt.Errorf("%d keys instead of %d", len(resp.Kvs), size)
		}
		return err
	}
}

// fill writes n keys, from many clients.
func fill(ctx context.Context, s *side, n int, key func(int) string) error {
	var wg sync.WaitGroup
	errs := make(chan error, 64)
	for worker := range 64 {
		wg.Go(func() {
			for i := worker; i < n; i += 64 {
				if _, err := s.client.Kubernetes.OptimisticPut(ctx, key(i), value, 0, etcdk8s.PutOptions{}); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return fmt.Errorf("fill %s: %w", s.name, err)
	default:
		return nil
	}
}

// fanOut measures from a write until the last of the watchers has seen it.
func fanOut(ctx context.Context, sides []*side, writes int) (map[string]*sample, error) {
	out := map[string]*sample{}
	for _, s := range sides {
		got, err := fanOutOf(ctx, s, writes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		out[s.name] = got
	}
	return out, nil
}

func fanOutOf(ctx context.Context, s *side, writes int) (*sample, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	seen := make(chan struct{}, watchers*4)
	for range watchers {
		ch := s.client.Watch(ctx, "/fan/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		if first, ok := <-ch; !ok || !first.Created {
			return nil, fmt.Errorf("watch was not created: %w", first.Err())
		}
		go func() {
			for r := range ch {
				for range r.Events {
					seen <- struct{}{}
				}
			}
		}()
	}
	out := &sample{}
	began := time.Now()
	for n := range writes {
		at := time.Now()
		if err := create("fan")(ctx, s, n); err != nil {
			return nil, err
		}
		for range watchers {
			select {
			case <-seen:
			case <-time.After(time.Minute):
				return nil, fmt.Errorf("write %d was not seen by all", n)
			}
		}
		out.latencies = append(out.latencies, time.Since(at))
	}
	out.elapsed = time.Since(began)
	return out, nil
}
