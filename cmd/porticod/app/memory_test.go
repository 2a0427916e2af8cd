// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"runtime"
	"runtime/debug"
	"testing"
)

// A start collects nothing until it has its memory, which is never more than the
// process may have. The first collection, or the end of the start, ends this.
func TestQuietStart(t *testing.T) {
	t.Setenv("GOGC", "")
	percent, unlimited := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
	defer func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(unlimited) }()
	for reason, test := range map[string]struct{ limit, want int64 }{
		"no limit":                 {unlimited, quietHeap},
		"a limit that is lower":    {100 << 20, 100 << 20},
		"a limit that is far away": {4 << 30, quietHeap},
	} {
		debug.SetMemoryLimit(test.limit)
		end := quietly()
		if got := debug.SetMemoryLimit(-1); got != test.want {
			t.Errorf("%s: quiet up to %d bytes, want %d", reason, got, test.want)
		}
		runtime.GC()
		end() // as the collection does, some time later
		if got := debug.SetMemoryLimit(-1); got != test.limit {
			t.Errorf("%s: limit %d bytes afterwards, want %d", reason, got, test.limit)
		}
		if got := debug.SetGCPercent(100); got != startGCPercent {
			t.Errorf("%s: collects at %d%% afterwards", reason, got)
		}
		debug.SetGCPercent(1)
		end()
		if got := debug.SetGCPercent(100); got != 1 {
			t.Errorf("%s: an end after the end sets %d%%", reason, got)
		}
	}
	t.Setenv("GOGC", "75")
	debug.SetGCPercent(75)
	quietly()()
	if got := debug.SetGCPercent(100); got != 75 {
		t.Errorf("with GOGC=75 it collects at %d%%", got)
	}
}

// TestGarbageIsBounded: the garbage next to little live data is bounded by
// percent, next to more by bytes, and next to much by percent again.
func TestGarbageIsBounded(t *testing.T) {
	for live, want := range map[uint64]int{
		0: 200, 10 << 20: 200, 64 << 20: 200, 100 << 20: 128, 256 << 20: 50, 4 << 30: 50,
	} {
		if got := percentFor(live); got != want {
			t.Errorf("%d MiB live: %d percent, want %d", live>>20, got, want)
		}
	}
	if measured(allocatedBytes) == 0 || measured(liveBytes) > measured(allocatedBytes) {
		t.Error("the runtime does not have the metrics")
	}
}
