// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package room_test

import (
	"testing"

	"portico.dev/portico/sync/internal/room"
)

func TestRoom(t *testing.T) {
	seen := []string{"a"}
	r := room.New(3, func() []string { return seen })
	for _, step := range []struct {
		what, name string
		seen       []string
		free       string
		want       bool
	}{
		{"there already", "a", []string{"a"}, "", true},
		{"second", "b", []string{"a"}, "", true},
		{"third", "c", []string{"a"}, "", true},
		{"one too many, before the view has the others", "d", []string{"a"}, "", false},
		{"the third again", "c", []string{"a"}, "", true},
		{"one too many, when it has", "d", []string{"a", "b", "c"}, "", false},
		{"one that is there keeps its place", "b", []string{"a", "b", "c", "x"}, "", true},
		{"one has gone", "d", []string{"a", "c"}, "", true},
		{"and its place with it", "b", []string{"a", "c"}, "", false},
		{"one was not made after all", "b", []string{"a", "c"}, "d", true},
	} {
		seen = step.seen
		if step.free != "" {
			r.Free(step.free)
		}
		if got := r.Take(step.name); got != step.want {
			t.Errorf("%s: %v, want %v", step.what, got, step.want)
		}
	}
}
