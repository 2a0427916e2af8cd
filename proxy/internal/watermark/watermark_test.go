// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package watermark_test

import (
	"sync"
	"testing"

	"portico.dev/portico/proxy/internal/watermark"
)

func TestMarkOnlyRises(t *testing.T) {
	var m watermark.Mark
	var raising sync.WaitGroup
	for to := range uint64(100) {
		raising.Go(func() {
			m.Raise(to)
			if at := m.Load(); at < to {
				t.Errorf("at %d after raising to %d", at, to)
			}
		})
	}
	raising.Wait()
	m.Raise(7)
	if at := m.Load(); at != 99 {
		t.Errorf("at %d, want 99", at)
	}
}
