// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"
)

const (
	// scaleMakers is how many clients fill the cluster.
	scaleMakers = 16

	// settle is how long porticod may take to give memory back. It looks three
	// times a minute.
	settle = 45 * time.Second
)

// measureScale measures the memory that pods and own objects take.
func (b *bench) measureScale(ctx context.Context) error {
	door := side{"door", b.virtual, b.namespace + "-scale"}
	if err := door.setUp(ctx); err != nil {
		return fmt.Errorf("prepare the door: %w", err)
	}
	for _, of := range []struct {
		kind kind
		n    int
		mark float64
	}{{gatedPods, b.pods, podMemoryMark}, {configMaps, b.stored, 0}} {
		b.say("Making %d objects of kind %s", of.n, of.kind.name)
		if err := b.slope(ctx, door, of.kind, of.n, of.mark); err != nil {
			return err
		}
	}
	return nil
}

// slope makes n objects and measures what they take.
func (b *bench) slope(ctx context.Context, door side, k kind, n int, mark float64) error {
	if err := pause(ctx, settle); err != nil {
		return err
	}
	before, began := b.sample(), time.Now()
	if err := parallel(scaleMakers, n, func(_, i int) error { return door.post(ctx, k, standing(i), "") }); err != nil {
		return err
	}
	took, busy := time.Since(began), b.sample()
	if err := pause(ctx, settle); err != nil {
		return err
	}
	after := b.sample()
	what := fmt.Sprintf("%d objects of kind %s: ", n, k.name)
	b.report.value(valueRow{"scale", what + "memory of each", float64(after.anonymous-before.anonymous) / float64(n) / 1000, "KB", "anonymous memory, " + settle.String() + " later", mark})
	b.report.value(valueRow{"scale", what + "created", float64(n) / took.Seconds(), "a second", fmt.Sprintf("%d clients", scaleMakers), 0})
	b.report.value(valueRow{"scale", what + "processor of each", ms(busy.processor-before.processor) / float64(n), "ms", "", 0})
	return nil
}
