// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"maps"
	"slices"
)

// set is a set of names. A nil set is empty.
type set map[string]struct{}

func setOf(names []string) set {
	s := set{}
	for _, name := range names {
		s.add(name)
	}
	return s
}

func (s set) add(name string)      { s[name] = struct{}{} }
func (s set) has(name string) bool { _, ok := s[name]; return ok }

func (s set) sorted() []string { return slices.Sorted(maps.Keys(s)) }
