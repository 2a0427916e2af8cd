// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// gcPercent trades processor time for memory: an idle control plane is
	// mostly live data, of which the default would let as much again pile up
	// as garbage.
	gcPercent = 50

	// startGCPercent is for the time in which the API is composed. Most of its
	// allocations stay, so an early collection costs processor time and saves
	// nothing: at 25 a start took 0.6 s of it more, for the same peak.
	startGCPercent = 100

	// idleInterval is how often giveMemoryBack looks, and idleAllocation the
	// bytes that a process allocates meanwhile if it does no more than its
	// periodic work.
	idleInterval   = 20 * time.Second
	idleAllocation = 32 << 20
)

// collectAt sets how much garbage may pile up, in percent of the live data,
// unless the operator chose with GOGC.
func collectAt(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// giveMemoryBack returns unused memory to the system now, and whenever the
// process has been idle, until ctx ends. Composing the API makes more garbage
// than it leaves live data, and an idle process would not collect it for
// minutes. A busy one is left alone: collecting is then work on top.
func giveMemoryBack(ctx context.Context) error {
	collectAt(gcPercent)
	debug.FreeOSMemory()
	tick := time.NewTicker(idleInterval)
	defer tick.Stop()
	for before := allocated(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := allocated()
		if now-before < idleAllocation {
			debug.FreeOSMemory()
		}
		before = now
	}
}

// allocated is the number of bytes of all heap objects ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
