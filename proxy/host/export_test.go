// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

// MaxPairs is maxPairs, for tests.
const MaxPairs = maxPairs

// Pairs counts the objects that are at hand in both forms.
func (s *Storage) Pairs() (n int) {
	s.shown.mu.Lock()
	defer s.shown.mu.Unlock()
	for _, e := range s.shown.entries {
		if e.pair != nil {
			n++
		}
	}
	return n
}
