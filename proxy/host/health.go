// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// health knows since when a cache has been without its host watch.
type health struct {
	clock clock.PassiveClock
	bound time.Duration

	mu     sync.Mutex
	lostAt time.Time // zero while the watch is there, and before the first
}

// lost notes that the watch is away. It reports whether that is news.
func (h *health) lost() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.lostAt.IsZero() {
		return false
	}
	h.lostAt = h.clock.Now()
	return true
}

// found notes that the watch is there. It returns how long it had been away.
func (h *health) found() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lostAt.IsZero() {
		return 0
	}
	away := h.clock.Since(h.lostAt)
	h.lostAt = time.Time{}
	return away
}

// connected reports whether the watch is there.
func (h *health) connected() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lostAt.IsZero()
}

// since is when the watch was lost; zero while it is there.
func (h *health) since() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lostAt
}

// fresh reports nil while the cache may answer for the latest state.
func (h *health) fresh() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lostAt.IsZero() {
		return nil
	}
	if away := h.clock.Since(h.lostAt); away > h.bound {
		return unavailable("the cluster has not heard from its host for %s; ask with resourceVersion=0 for the last known state", away.Round(time.Second))
	}
	return nil
}
