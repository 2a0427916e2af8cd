// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"portico.dev/portico/cmd/porticod/demo"
)

// idleMemoryMark is how much an idle virtual cluster may take, in MiB.
const idleMemoryMark = 250

// idleMemory reads the resident memory of a freshly started virtual cluster
// after a while without requests.
func idleMemory(ctx context.Context, r *report, c *demo.Clusters, idle time.Duration) error {
	const what = "idle memory of porticod serve"
	if err := c.StopVirtual(); err != nil {
		return err
	}
	if err := c.ResetVirtual(); err != nil {
		return err
	}
	if err := c.StartVirtual(ctx); err != nil {
		return err
	}
	timer := time.NewTimer(idle)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Virtual.PID()))
	if err != nil {
		r.skip(what, "no /proc on this system")
		return nil
	}
	resident, anonymous := kibibytes(string(status), "VmRSS"), kibibytes(string(status), "RssAnon")
	r.add(row{
		what:  what,
		value: fmt.Sprintf("%d MiB resident after %s, of which %d MiB anonymous", resident>>10, idle, anonymous>>10),
		mark:  fmt.Sprintf("<= %d MiB", idleMemoryMark),
		met:   isMet(resident>>10 <= idleMemoryMark),
	})
	return nil
}

// kibibytes returns a field of /proc/PID/status, or 0 if it is not there.
func kibibytes(status, field string) int64 {
	for line := range strings.Lines(status) {
		if key, value, ok := strings.Cut(line, ":"); ok && key == field {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return n
		}
	}
	return 0
}
