// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// warmUp is how many requests of each side are not measured: connections are
// opened, and caches of either side filled, in these.
const warmUp = 20

// request is one request of a side. Its number is different in each call, so
// that requests which create something can name it.
type request func(ctx context.Context, number int) error

// latencies are the times of one side's requests, sorted.
type latencies []time.Duration

// compare sends n requests to each side, one at a time, and changes which side
// goes first each time, so that neither always runs in the other's wake.
func compare(ctx context.Context, n int, a, b request) (aTimes, bTimes latencies, err error) {
	sides := [2]struct {
		do    request
		times latencies
	}{{do: a}, {do: b}}
	for i := range warmUp + n {
		for turn := range sides {
			side := &sides[(i+turn)%2]
			began := time.Now()
			if err := side.do(ctx, i); err != nil {
				return nil, nil, fmt.Errorf("request %d: %w", i, err)
			}
			if i >= warmUp {
				side.times = append(side.times, time.Since(began))
			}
		}
	}
	slices.Sort(sides[0].times)
	slices.Sort(sides[1].times)
	return sides[0].times, sides[1].times, nil
}

// percentile is the smallest time that p percent of the requests did not exceed.
func (l latencies) percentile(p int) time.Duration {
	if len(l) == 0 {
		return 0
	}
	rank := (len(l)*p + 99) / 100
	return l[max(rank, 1)-1]
}
