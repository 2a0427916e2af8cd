// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package watermark

import "sync/atomic"

// Mark is a revision that only rises. The zero Mark is at 0, and safe for
// concurrent use.
type Mark struct{ at atomic.Uint64 }

// Load returns the revision.
func (m *Mark) Load() uint64 { return m.at.Load() }

// Raise lifts the mark to a revision, unless it is higher already.
func (m *Mark) Raise(to uint64) {
	for {
		at := m.at.Load()
		if to <= at || m.at.CompareAndSwap(at, to) {
			return
		}
	}
}
