// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// sample holds the times that clients measured of one side.
type sample struct {
	latencies []time.Duration
	elapsed   time.Duration
}

func (s *sample) percentile(p float64) time.Duration {
	if len(s.latencies) == 0 {
		return 0
	}
	slices.Sort(s.latencies)
	return s.latencies[min(int(p*float64(len(s.latencies))), len(s.latencies)-1)]
}

func (s *sample) perSecond() float64 {
	if s.elapsed == 0 {
		return 0
	}
	return float64(len(s.latencies)) / s.elapsed.Seconds()
}

// request asks a side for something; n is different each time.
type request func(ctx context.Context, s *side, n int) error

// turns measures each side in turn, again and again.
func turns(ctx context.Context, sides []*side, clients int, o options, ask request) (map[string]*sample, error) {
	out := map[string]*sample{}
	next := map[string]int{}
	for _, s := range sides {
		out[s.name] = &sample{}
	}
	// The first turn warms up connections and caches, and is not counted.
	for turn := range o.turns + 1 {
		for _, s := range sides {
			length := o.slice
			if turn == 0 {
				length = o.slice / 4
			}
			got, used, err := slice(ctx, s, clients, next[s.name], length, ask)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			next[s.name] += used
			if turn > 0 {
				out[s.name].latencies = append(out[s.name].latencies, got.latencies...)
				out[s.name].elapsed += got.elapsed
			}
		}
	}
	return out, nil
}

// slice lets clients ask one side for some time. It returns also how many
// numbers it has used.
func slice(ctx context.Context, s *side, clients, from int, length time.Duration, ask request) (sample, int, error) {
	var mu sync.Mutex
	var all sample
	var firstErr error
	next := from
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1
	}
	began := time.Now()
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			var own []time.Duration
			var err error
			for err == nil && time.Since(began) < length {
				n, at := take(), time.Now()
				err = ask(ctx, s, n)
				own = append(own, time.Since(at))
			}
			mu.Lock()
			defer mu.Unlock()
			all.latencies = append(all.latencies, own...)
			if firstErr == nil {
				firstErr = err
			}
		})
	}
	wg.Wait()
	all.elapsed = time.Since(began)
	return all, next - from, firstErr
}
