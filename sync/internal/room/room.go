// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package room

import "sync"

// Room is for the host objects of one kind.
type Room struct {
	most int
	seen func() []string

	mu   sync.Mutex
	made map[string]bool // and not seen yet
}

// New returns a Room for so many objects. seen returns the names of those that
// the view of the host has.
func New(most int, seen func() []string) *Room {
	return &Room{most: most, seen: seen, made: map[string]bool{}}
}

// Most is how many objects there is room for.
func (r *Room) Most() int { return r.most }

// Take reports whether there is room for a host object, and keeps the place for
// it until it is seen or Free is called.
func (r *Room) Take(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen()
	for _, s := range seen {
		delete(r.made, s)
		if s == name {
			return true
		}
	}
	if !r.made[name] && len(seen)+len(r.made) >= r.most {
		return false
	}
	r.made[name] = true
	return true
}

// Free gives back the place of an object that was not made, or is gone.
func (r *Room) Free(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.made, name)
}
