// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"fmt"
	"time"
)

// Durability names the failures that an acknowledged write survives.
type Durability string

const (
	// Full survives a power cut: each commit is synced. It is the default.
	Full Durability = "full"
	// Normal survives the end of the process, but a power cut or a crash of
	// the machine may undo the last moments. The file stays consistent.
	Normal Durability = "normal"
)

// Defaults of Options.
const (
	DefaultRetention        = 5 * time.Minute
	DefaultProgressInterval = 10 * time.Second
)

// Options configure an Engine. Only Dir is required.
type Options struct {
	// Dir is the data directory; it is created if need be.
	Dir string
	// Durability is Full unless set.
	Durability Durability
	// Retention is how long history is kept for reads and watches in the
	// past; DefaultRetention if 0. Negative turns automatic compaction off.
	Retention time.Duration
	// MaxHistory is how many bytes of history are kept at most, in memory and in
	// the file: when there is more, the older half of that is given up before
	// its time. No bound if 0.
	MaxHistory int64
	// ProgressInterval is the time between progress notifications on quiet
	// watches that asked for them; DefaultProgressInterval if 0.
	ProgressInterval time.Duration
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, fmt.Errorf("data directory is not set")
	}
	switch o.Durability {
	case "":
		o.Durability = Full
	case Full, Normal:
	default:
		return o, fmt.Errorf("durability %q is not one of %q and %q", o.Durability, Full, Normal)
	}
	if o.Retention == 0 {
		o.Retention = DefaultRetention
	}
	if o.ProgressInterval <= 0 {
		o.ProgressInterval = DefaultProgressInterval
	}
	return o, nil
}
