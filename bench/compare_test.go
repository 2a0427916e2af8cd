// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"strings"
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
		{hundred, 99, 99},
		{hundred, 100, 100},
	} {
		if got := test.in.percentile(test.p); got != test.want {
			t.Errorf("p%d of %d times is %d, want %d", test.p, len(test.in), got, test.want)
		}
	}
}

func TestCompareTakesTurnsAndDropsTheWarmUp(t *testing.T) {
	var order strings.Builder
	side := func(name string) request {
		return func(_ context.Context, _ int) error { order.WriteString(name); return nil }
	}
	a, b, err := compare(t.Context(), 2, side("a"), side("b"))
	if err != nil {
		t.Fatal(err)
	}
	if len(a) != 2 || len(b) != 2 {
		t.Errorf("got %d and %d times, want 2 each", len(a), len(b))
	}
	if want := strings.Repeat("abba", (warmUp+2)/2); order.String() != want {
		t.Errorf("order is %s, want %s", order.String(), want)
	}
}

func TestCompareEndsAtTheFirstError(t *testing.T) {
	boom := errors.New("boom")
	calls := 0
	fine := func(context.Context, int) error { calls++; return nil }
	_, _, err := compare(t.Context(), 10, fine, func(context.Context, int) error { return boom })
	if !errors.Is(err, boom) || calls != 1 {
		t.Errorf("got %v after %d calls", err, calls)
	}
}

func TestReportTable(t *testing.T) {
	var out strings.Builder
	r := &report{}
	r.addRatio("GET", "door", "host", 1.5, latencies{2 * time.Millisecond}, latencies{time.Millisecond})
	r.add(row{what: "idle memory", value: "100 MB", mark: "<= 250 MB", met: metYes})
	r.skip("ConfigMap create", "no --etcd-kubeconfig")
	if err := r.write(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| GET | door 2.00 / 2.00 ms, host 1.00 / 1.00 ms | **2.00x** / 2.00x | <= 1.5x | no |",
		"| idle memory | 100 MB |  | <= 250 MB | yes |",
		"| ConfigMap create | not measured: no --etcd-kubeconfig |  |  |  |",
	} {
		if !strings.Contains(out.String(), want+"\n") {
			t.Errorf("table lacks\n%s\nin\n%s", want, out.String())
		}
	}
}
