// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/cmd/porticod/demo"
)

// startMark is how long a start may take.
const startMark = 3 * time.Second

// start measures how long it takes from exec of porticod serve until it has
// answered its first list of namespaces: the median of n starts, on a new
// store and on one that exists.
func start(ctx context.Context, r *report, c *demo.Clusters, n int) error {
	for _, store := range []struct {
		name  string
		fresh bool
	}{{"new store", true}, {"existing store", false}} {
		var times latencies
		for range n {
			if err := c.StopVirtual(); err != nil {
				return err
			}
			if store.fresh {
				if err := c.ResetVirtual(); err != nil {
					return err
				}
			}
			took, err := startOnce(ctx, c)
			if err != nil {
				return err
			}
			times = append(times, took)
		}
		slices.Sort(times)
		median := times.percentile(50)
		r.add(row{
			what:  "exec to first served `get ns`, " + store.name,
			value: fmt.Sprintf("median %.2f s, worst of %d %.2f s", median.Seconds(), n, times.percentile(100).Seconds()),
			mark:  fmt.Sprintf("<= %.0f s", startMark.Seconds()),
			met:   isMet(median <= startMark),
		})
	}
	return nil
}

func startOnce(ctx context.Context, c *demo.Clusters) (time.Duration, error) {
	began := time.Now()
	if err := c.StartVirtual(ctx); err != nil {
		return 0, err
	}
	client, err := c.Virtual.Client()
	if err != nil {
		return 0, err
	}
	if _, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{}); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}
