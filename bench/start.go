// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// measureStart measures how long it takes from exec of porticod serve until it
// has answered its first list of namespaces, on a new store and on one that
// exists; its processor time until then, and how long a stop takes.
func (b *bench) measureStart(ctx context.Context) error {
	for _, store := range []struct {
		name  string
		fresh bool
		mark  float64
	}{{"new store", true, startNewMark}, {"existing store", false, startMark}} {
		b.say("Starting the virtual cluster %d times, %s", b.starts, store.name)
		if err := b.starting(ctx, store.name, store.fresh, store.mark); err != nil {
			return err
		}
	}
	return nil
}

// starting measures starts on one store. The first is not measured if the store
// exists: it may have a store of an earlier measurement to tidy up.
func (b *bench) starting(ctx context.Context, store string, fresh bool, mark float64) error {
	var starts, processor, stops, outages latencies
	for range b.starts {
		down := time.Now()
		if err := b.clusters.StopVirtual(); err != nil {
			return err
		}
		stops = append(stops, time.Since(down))
		if fresh {
			if err := b.clusters.ResetVirtual(); err != nil {
				return err
			}
		}
		took, used, err := b.startOnce(ctx)
		if err != nil {
			return err
		}
		starts, processor, outages = append(starts, took), append(processor, used), append(outages, time.Since(down))
	}
	for _, times := range []latencies{starts, processor, stops, outages} {
		slices.Sort(times)
	}
	b.report.value(valueRow{"start", "exec to first served `get ns`, " + store, starts.percentile(50).Seconds(), "s", spread(starts), mark})
	b.report.value(valueRow{"start", "processor time until then, " + store, processor.percentile(50).Seconds(), "s", spread(processor), 0})
	b.report.value(valueRow{"start", "SIGTERM to the end of the process, " + store, stops.percentile(50).Seconds(), "s", spread(stops), stopMark})
	if !fresh {
		b.report.value(valueRow{"start", "outage of a restart, " + store, outages.percentile(50).Seconds(), "s", spread(outages), 0})
	}
	return nil
}

// spread says how far sorted times are apart.
func spread(l latencies) string {
	return fmt.Sprintf("median of %d, from %.2f to %.2f", len(l), l[0].Seconds(), l.percentile(100).Seconds())
}

func (b *bench) startOnce(ctx context.Context) (took, processor time.Duration, err error) {
	began := time.Now()
	if err := b.clusters.StartVirtual(ctx); err != nil {
		return 0, 0, err
	}
	if b.virtual, err = b.clusters.Virtual.Client(); err != nil {
		return 0, 0, err
	}
	if _, err := b.virtual.CoreV1().Namespaces().List(ctx, metav1.ListOptions{}); err != nil {
		return 0, 0, err
	}
	took = time.Since(began)
	processor = b.sample().processor
	return took, processor, b.findMetrics(ctx)
}
