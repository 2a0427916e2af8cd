// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"
)

// measureIdle reads the memory of a freshly started virtual cluster after a
// while without requests, and what it does in another while.
func (b *bench) measureIdle(ctx context.Context) error {
	if err := b.clusters.StopVirtual(); err != nil {
		return err
	}
	if err := b.clusters.ResetVirtual(); err != nil {
		return err
	}
	if _, _, err := b.startOnce(ctx); err != nil {
		return err
	}
	b.say("Leaving the virtual cluster idle for twice %s", b.idle)
	if err := pause(ctx, b.idle); err != nil {
		return err
	}
	before := b.sample()
	if !before.known {
		b.report.skip("idle", "memory and processor", "no /proc on this system")
		return nil
	}
	began := time.Now()
	if err := pause(ctx, b.idle); err != nil {
		return err
	}
	after, took := b.sample(), time.Since(began)
	b.profile("idle", 0)()
	note := "after " + (2 * b.idle).String()
	b.report.value(valueRow{"idle", "resident memory", float64(after.resident) / 1e6, "MB", note, residentMark})
	b.report.value(valueRow{"idle", "anonymous memory", float64(after.anonymous) / 1e6, "MB", note, anonymousMark})
	used := after.processor - before.processor
	b.report.value(valueRow{"idle", "processor", 100 * used.Seconds() / took.Seconds(), "% of a core", fmt.Sprintf("in %s", took.Round(time.Second)), idleProcessorMark})
	b.report.value(valueRow{"idle", "requests to the host", float64(after.requests-before.requests) / took.Minutes(), "a minute", "about translated kinds, without watches", idleRequestsMark})
	return nil
}

// pause waits, or returns the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
