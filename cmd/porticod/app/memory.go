// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// gcPercent trades processor time for memory where there is much live data,
	// of which the default would let as much again pile up as garbage.
	gcPercent = 50

	// busyGarbage may pile up in any case, up to busyGCPercent of the live data: at
	// gcPercent, a small cluster spent a quarter of its processor time under load
	// on collections. An idle one is collected by giveMemoryBack, and one with a
	// memory limit before it gets there.
	busyGarbage   = 128 << 20
	busyGCPercent = 200

	// startGCPercent is for the rest of a start whose heap has outgrown quietHeap:
	// most of its allocations stay, so that collecting often saves little.
	startGCPercent = 100

	// quietHeap is the memory up to which a start collects nothing, in bytes. About
	// half of it is in use when a small cluster is ready. More garbage costs memory
	// for good: data that stays is spread among it, over more pages.
	quietHeap = 128 << 20

	// idleInterval is how often giveMemoryBack looks, and idleAllocation the
	// bytes that a process allocates meanwhile if it does no more than its
	// periodic work.
	idleInterval   = 20 * time.Second
	idleAllocation = 32 << 20

	// worthCollecting is from how many bytes on a collection is worth its work,
	// which is the same for little garbage: three a minute for the few megabytes
	// of an idle process took a third of its processor time.
	worthCollecting = 16 << 20
)

// collectAt sets how much garbage may pile up, in percent of the live data,
// unless the operator chose with GOGC.
func collectAt(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// quietly puts the first collection off until the process has quietHeap, or all
// that it may have: the heap doubles several times on the way there, and each of
// the collections would look at nearly only live data. From the first one on,
// garbage may pile up as usual, so a store that needs more is no reason to
// collect without end. The result ends the quiet before. An operator who set GOGC
// gets what was asked for.
func quietly() (end func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	limit := debug.SetMemoryLimit(-1)
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(min(limit, quietHeap))
	end = sync.OnceFunc(func() {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(startGCPercent)
	})
	// Nothing refers to the sentinel, so the first collection finds it. It is too
	// large to share its memory with other objects.
	runtime.AddCleanup(new([64]byte), func(end func()) { end() }, end)
	return end
}

// giveMemoryBack returns unused memory to the system now, and whenever the
// process has been idle, until ctx ends. Composing the API makes more garbage
// than it leaves live data, and an idle process would not collect it for
// minutes. A busy one is left alone: collecting is then work on top.
func giveMemoryBack(ctx context.Context) error {
	debug.FreeOSMemory()
	collectAt(percentFor(measured(liveBytes)))
	tick := time.NewTicker(idleInterval)
	defer tick.Stop()
	collected := measured(allocatedBytes)
	for before := collected; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := measured(allocatedBytes)
		if now-before < idleAllocation && now-collected >= worthCollecting {
			debug.FreeOSMemory()
			giveCodeBack()
			collected = now
		}
		before = now
		collectAt(percentFor(measured(liveBytes)))
	}
}

// percentFor is how much garbage may pile up next to so much live data, in percent
// of that.
func percentFor(live uint64) int {
	return int(min(max(busyGarbage*100/max(live, 1), gcPercent), busyGCPercent))
}

// Metrics of the runtime: all heap objects ever allocated, and those that the last
// collection left.
const (
	allocatedBytes = "/gc/heap/allocs:bytes"
	liveBytes      = "/gc/heap/live:bytes"
)

// measured is a metric of the runtime that counts bytes.
func measured(name string) uint64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
