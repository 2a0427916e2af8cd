// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/utils/clock"
)

// pulse knows when anything was last heard from the host. A connection that died
// silently gives no error, so a quiet host is asked for an answer. The watches of
// all kinds share one connection: what one of them hears is news of the others
// too, and one question is enough for all.
//
// With the watch of a kind as the caller, a dead connection is noticed within
// about bound: it may be quiet for tick and rest, and the answer takes patience.
type pulse struct {
	clock clock.PassiveClock
	bound time.Duration

	heard  atomic.Int64 // nanoseconds of Unix time
	asking singleflight.Group
}

func newPulse(c clock.PassiveClock, bound time.Duration) *pulse {
	return &pulse{clock: c, bound: bound}
}

// tick is how often each watch looks, rest how long a question is not repeated,
// and patience how long an answer may take.
func (p *pulse) tick() time.Duration     { return p.bound * 12 / 30 }
func (p *pulse) rest() time.Duration     { return p.bound * 10 / 30 }
func (p *pulse) patience() time.Duration { return p.bound * 8 / 30 }

// beat notes that something came from the host.
func (p *pulse) beat() { p.heard.Store(p.clock.Now().UnixNano()) }

// check calls ask unless something was heard lately. Callers that come meanwhile
// get the same result.
func (p *pulse) check(ctx context.Context, ask func(context.Context) error) error {
	if p.clock.Since(time.Unix(0, p.heard.Load())) < p.rest() {
		return nil
	}
	_, err, _ := p.asking.Do("", func() (any, error) {
		// The watch that asks may end meanwhile, which is no news of the host.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.patience())
		defer cancel()
		err := ask(ctx)
		if err == nil {
			p.beat()
		}
		return nil, err
	})
	return err
}
