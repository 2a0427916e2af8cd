// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// request is one request of a side. Its number is different in each call, so
// that requests which create something can name it; client is below the number
// of clients, and no two requests of one client run at a time.
type request func(ctx context.Context, client, number int) error

// exercise is a request with its surroundings, which are not measured.
type exercise struct {
	// before makes the objects that the n requests from number from on use up, and
	// after removes those that they made. Either may be nil.
	before, after func(ctx context.Context, from, n int) error
	do            request
}

// plan says how much is measured.
type plan struct {
	clients int
	batch   int           // requests of a side in each round
	rounds  int           // at least, and at most four times as many
	budget  time.Duration // after which no further round begins
}

// tightEnough is how wide the interval of a ratio may be, relative to the ratio.
const tightEnough = 0.1

// fewestRatios is how many it takes to bound a median with 95 % confidence.
const fewestRatios = 6

// latencies are the times of one side's requests, sorted.
type latencies []time.Duration

// measured is the result of a side.
type measured struct {
	times latencies
	took  time.Duration // of all rounds, without what surrounds them
}

// perSecond is the throughput.
func (m measured) perSecond() float64 {
	return float64(len(m.times)) / max(m.took.Seconds(), 1e-9)
}

// comparison is the result of compare.
type comparison struct {
	a, b   measured
	ratios []float64 // of the medians, one for each round, sorted
}

// compare lets both sides do the same, in rounds of one batch of each, and
// changes which side goes first each time: any other load of the machine hits
// both, and neither always runs in the other's wake. It goes on until the
// interval of the ratio's median is tight, or the plan ends. The first round is
// for opening connections and filling caches, and does not count.
func compare(ctx context.Context, p plan, a, b exercise) (comparison, error) {
	var c comparison
	sides := [2]struct {
		exercise
		out *measured
	}{{a, &c.a}, {b, &c.b}}
	began := time.Now()
	for round := 0; ; round++ {
		var medians [2]time.Duration
		for turn := range sides {
			at := (round + turn) % 2
			times, took, err := runBatch(ctx, p, round, sides[at].exercise)
			if err != nil {
				return c, err
			}
			medians[at] = times.percentile(50)
			if round > 0 {
				sides[at].out.times = append(sides[at].out.times, times...)
				sides[at].out.took += took
			}
		}
		if round == 0 {
			continue
		}
		c.ratios = append(c.ratios, float64(medians[0])/float64(max(medians[1], 1)))
		if c.enough(p, time.Since(began)) {
			break
		}
	}
	slices.Sort(c.ratios)
	slices.Sort(c.a.times)
	slices.Sort(c.b.times)
	return c, nil
}

// enough says whether a comparison has come to its end.
func (c comparison) enough(p plan, took time.Duration) bool {
	n := len(c.ratios)
	if n >= 4*p.rounds || took > p.budget {
		return true
	}
	return n >= p.rounds && tight(slices.Sorted(slices.Values(c.ratios)))
}

// tight says whether the interval of sorted ratios is as narrow as it should be.
// Few ratios have no interval.
func tight(sorted []float64) bool {
	low, mid, high := interval(sorted)
	return len(sorted) >= fewestRatios && high-low <= tightEnough*mid
}

// runBatch runs the requests of one round on one side.
func runBatch(ctx context.Context, p plan, round int, e exercise) (latencies, time.Duration, error) {
	from := round * p.batch
	if e.before != nil {
		if err := e.before(ctx, from, p.batch); err != nil {
			return nil, 0, fmt.Errorf("prepare round %d: %w", round, err)
		}
	}
	times := make(latencies, p.batch)
	began := time.Now()
	err := parallel(p.clients, p.batch, func(client, i int) error {
		began := time.Now()
		err := e.do(ctx, client, from+i)
		times[i] = time.Since(began)
		return err
	})
	took := time.Since(began)
	if err != nil {
		return nil, 0, fmt.Errorf("round %d: %w", round, err)
	}
	if e.after != nil {
		if err := e.after(ctx, from, p.batch); err != nil {
			return nil, 0, fmt.Errorf("clean up after round %d: %w", round, err)
		}
	}
	slices.Sort(times)
	return times, took, nil
}

// parallel calls do for 0 to n-1 from a number of workers, and returns the first
// error, after which no further call begins.
func parallel(workers, n int, do func(worker, i int) error) error {
	var next atomic.Int64
	var first error
	var once sync.Once
	var running sync.WaitGroup
	for worker := range workers {
		running.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(worker, i); err != nil {
					once.Do(func() { first = err })
					next.Store(int64(n))
					return
				}
			}
		})
	}
	running.Wait()
	return first
}

// percentile is the smallest time that p percent of the requests did not exceed.
func (l latencies) percentile(p int) time.Duration {
	if len(l) == 0 {
		return 0
	}
	rank := (len(l)*p + 99) / 100
	return l[max(rank, 1)-1]
}

// interval returns the median of sorted values, and the bounds between which the
// true median is with 95 % confidence, whatever the distribution: each value is
// on either side of it as a coin falls. Fewer than fewestRatios values bound nothing,
// and give the lowest and the highest.
func interval(sorted []float64) (low, median, high float64) {
	n := len(sorted)
	if n == 0 {
		return 0, 0, 0
	}
	median = (sorted[(n-1)/2] + sorted[n/2]) / 2
	// The largest k for which fewer than k of n coins are heads in at most 2.5 %
	// of all cases: the k-th value from either end is a bound.
	k, below := 0, 0.0
	for k < n/2 {
		below += choose(n, k) / math.Pow(2, float64(n))
		if below > 0.025 {
			break
		}
		k++
	}
	k = max(k, 1)
	return sorted[k-1], median, sorted[n-k]
}

// choose is the number of ways to take k of n.
func choose(n, k int) float64 {
	ways := 1.0
	for i := range k {
		ways *= float64(n-i) / float64(i+1)
	}
	return ways
}
