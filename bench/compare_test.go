// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	hundred := make(latencies, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, test := range []struct {
		in   latencies
		p    int
		want time.Duration
	}{
		{nil, 50, 0},
		{latencies{7}, 50, 7},
		{latencies{7}, 99, 7},
		{latencies{1, 2, 3}, 50, 2},
		{hundred, 50, 50},
		{hundred, 90, 90},
		{hundred, 99, 99},
		{hundred, 100, 100},
	} {
		if got := test.in.percentile(test.p); got != test.want {
			t.Errorf("p%d of %d times is %d, want %d", test.p, len(test.in), got, test.want)
		}
	}
}

// The ranks of the bounds are those of any table of the sign test.
func TestIntervalOfTheMedian(t *testing.T) {
	for _, test := range []struct {
		n                 int
		low, median, high float64
	}{
		{0, 0, 0, 0},
		{1, 1, 1, 1},
		{5, 1, 3, 5},
		{6, 1, 3.5, 6},
		{9, 2, 5, 8},
		{20, 6, 10.5, 15},
		{50, 18, 25.5, 33},
	} {
		var sorted []float64
		for i := range test.n {
			sorted = append(sorted, float64(i+1))
		}
		if low, median, high := interval(sorted); low != test.low || median != test.median || high != test.high {
			t.Errorf("of %d values: %v, %v, %v; want %v, %v, %v", test.n, low, median, high, test.low, test.median, test.high)
		}
	}
}

func TestCompareTakesTurnsAndDropsTheFirstRound(t *testing.T) {
	var order strings.Builder
	side := func(name string) exercise {
		note := func(what string) func(context.Context, int, int) error {
			return func(context.Context, int, int) error { order.WriteString(what); return nil }
		}
		return exercise{before: note("("), after: note(")"), do: func(context.Context, int, int) error { order.WriteString(name); return nil }}
	}
	c, err := compare(t.Context(), plan{clients: 1, batch: 2, rounds: 1}, side("a"), side("b"))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.a.times) != 2 || len(c.b.times) != 2 || len(c.ratios) != 1 {
		t.Errorf("got %d and %d times and %d ratios, want 2, 2, 1", len(c.a.times), len(c.b.times), len(c.ratios))
	}
	if want := "(aa)(bb)(bb)(aa)"; order.String() != want {
		t.Errorf("order is %s, want %s", order.String(), want)
	}
}

func TestCompareGoesOnUntilTheIntervalIsTight(t *testing.T) {
	p := plan{rounds: 6, budget: time.Hour}
	for reason, test := range map[string]struct {
		ratios []float64
		took   time.Duration
		want   bool
	}{
		"too few rounds":      {ratios: []float64{2, 2, 2}},
		"one alone":           {ratios: []float64{2}},
		"tight":               {ratios: []float64{2, 2, 2.01, 2.02, 2, 2}, want: true},
		"wide":                {ratios: []float64{2, 3, 2.01, 1.5, 2, 2}},
		"wide, out of time":   {ratios: []float64{2, 3, 2.01, 1.5, 2, 2}, took: 2 * time.Hour, want: true},
		"wide, out of rounds": {ratios: make([]float64, 24), want: true},
	} {
		if got := (comparison{ratios: test.ratios}).enough(p, test.took); got != test.want {
			t.Errorf("%s: enough is %v", reason, got)
		}
	}
}

func TestSumOfACounter(t *testing.T) {
	text := "# TYPE a_total counter\na_total{code=\"200\"} 3\na_total{code=\"404\"} 1e+02\na_total_seconds{} 7\nb_total{} 9\n"
	if got := sumOf([]byte(text), "a_total"); got != 103 {
		t.Errorf("sum %d, want 103", got)
	}
}

func TestProcessorTimeOfAProcess(t *testing.T) {
	stat := "4242 (a (b) c) S 1 4242 4242 0 -1 4194560 1 2 3 4 150 25 6 7 20 0 9 0 1 2 3"
	if got := processorTime(stat); got != 1750*time.Millisecond {
		t.Errorf("%s, want 1.75s", got)
	}
}

func TestParallelCallsEachOnce(t *testing.T) {
	var calls [100]atomic.Int32
	if err := parallel(7, len(calls), func(_, i int) error { calls[i].Add(1); return nil }); err != nil {
		t.Fatal(err)
	}
	for i := range calls {
		if n := calls[i].Load(); n != 1 {
			t.Errorf("%d was called %d times", i, n)
		}
	}
}

func TestCompareEndsAtTheFirstError(t *testing.T) {
	boom := errors.New("boom")
	calls := 0
	fine := exercise{do: func(context.Context, int, int) error { calls++; return nil }}
	bad := exercise{do: func(context.Context, int, int) error { return boom }}
	_, err := compare(t.Context(), plan{clients: 1, batch: 3, rounds: 5}, fine, bad)
	if !errors.Is(err, boom) || calls != 3 {
		t.Errorf("got %v after %d calls", err, calls)
	}
}
