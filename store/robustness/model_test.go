// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package robustness_test

import (
	"slices"
	"strings"
)

// step says whether an answer is right if the request comes next after a
// revision, and at which revision the store is then.
func (c *checker) step(at int64, o op, r result) (legal bool, next int64) {
	state := c.states[at]
	current := find(state, o.Key)
	if r.NoLease {
		return !holds(state, o.Lease), at
	}
	switch o.Kind {
	case get:
		return r.Rev == at && slices.Equal(r.KVs, current), at
	case list:
		return r.Rev == at && slices.Equal(r.KVs, under(state, o.Key)), at
	case listPast:
		return r.Rev == at && o.Rev <= at && slices.Equal(r.KVs, under(c.states[o.Rev], o.Key)), at
	case grant:
		return r.Rev == at, at
	case revoke:
		if r.Rev == at {
			return !holds(state, o.Lease), at
		}
		return r.Rev == at+1 && c.ends(at+1, o.Lease, state), at + 1
	case expire:
		return r.Rev == at+1, at + 1
	case put:
		return c.wrote(at, r, current, change{o.Key, o.Value, o.Lease})
	case putTwo:
		return c.wrote(at, r, nil, change{o.Key, o.Value, 0}, change{o.Key2, o.Value, 0})
	case deleteIn:
		gone := under(state, o.Key)
		return c.wrote(at, r, gone, append(deletions(gone), change{markerOf(o), o.Value, 0})...)
	case swap, swapAway:
		var mod int64
		if len(current) > 0 {
			mod = current[0].Mod
		}
		if !r.OK {
			return r.Rev == at && mod != o.Expected && slices.Equal(r.KVs, current), at
		}
		if mod != o.Expected {
			return false, at
		}
		if o.Kind == swap {
			return c.wrote(at, r, nil, change{o.Key, o.Value, o.Lease})
		}
		return c.wrote(at, r, current, append(deletions(current), change{markerOf(o), o.Value, 0})...)
	}
	return false, at
}

// change is the effect of a request on a key; no value means that it deletes
// it.
type change struct {
	key, value string
	lease      int64
}

// wrote reports whether the next revision is exactly these changes, and the
// answer holds the keys' state before it.
func (c *checker) wrote(at int64, r result, before []kv, changes ...change) (bool, int64) {
	if r.Rev != at+1 || !r.fromLog && !slices.Equal(r.KVs, before) {
		return false, at
	}
	events := c.log[at+1]
	if len(events) != len(changes) {
		return false, at
	}
	for i, e := range events {
		if e.KV.Key != changes[i].key || e.Deleted != (changes[i].value == "") || e.KV.Value != changes[i].value || e.KV.LeaseID != changes[i].lease {
			return false, at
		}
	}
	return true, at + 1
}

// ends says whether a revision deletes all that a lease holds, and nothing else.
func (c *checker) ends(rev, lease int64, state map[string]kv) bool {
	held := 0
	for _, k := range state {
		if k.LeaseID == lease {
			held++
		}
	}
	for _, e := range c.log[rev] {
		if !e.Deleted || e.Prev == nil || e.Prev.LeaseID != lease {
			return false
		}
	}
	return held > 0 && held == len(c.log[rev])
}

func deletions(kvs []kv) (out []change) {
	for _, k := range kvs {
		out = append(out, change{key: k.Key})
	}
	return out
}

// markerOf is the key that names the client that deleted.
func markerOf(o op) string {
	_, rest, _ := strings.Cut(o.ID, "c")
	client, _, _ := strings.Cut(rest, "n")
	return "/m/" + client
}

func find(state map[string]kv, key string) []kv {
	if k, ok := state[key]; ok {
		return []kv{k}
	}
	return nil
}

func under(state map[string]kv, prefix string) (out []kv) {
	for key, k := range state {
		if strings.HasPrefix(key, prefix) {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b kv) int { return strings.Compare(a.Key, b.Key) })
	return out
}
