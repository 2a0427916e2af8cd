// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"sync/atomic"
	"time"
)

// cost is how much porticod uses for the door's requests of a comparison, with
// those that surround the measured ones.
type cost struct {
	requests    atomic.Int64 // measured ones
	processor   time.Duration
	hostCalls   int
	unavailable bool
}

// counted returns do, counting its calls.
func (c *cost) counted(do request) request {
	return func(ctx context.Context, client, number int) error {
		c.requests.Add(1)
		return do(ctx, client, number)
	}
}

func (c *cost) add(before, after sample) {
	c.unavailable = !before.known || !after.known
	c.processor = after.processor - before.processor
	c.hostCalls = after.requests - before.requests
}
