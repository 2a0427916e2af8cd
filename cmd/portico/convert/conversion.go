// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// conversion is a result while it is made.
type conversion struct {
	in     map[string]any
	result Result
	origin map[string]string // of each value that was put: the key that it came from
}

// at is a value of the input, or nil.
func (c *conversion) at(path string) any { return lookup(c.in, path) }

// on says whether the input switches something on.
func (c *conversion) on(path string) bool { return isTrue(c.at(path)) }

func (c *conversion) missing(path, why string) {
	c.leave(path)
	c.result.Missing = append(c.result.Missing, Missing{Path: path, Why: why})
}

func (c *conversion) needless(path string) {
	c.leave(path)
	c.result.Needless = append(c.result.Needless, path)
}

// nothing is said of a section without keys. Portico's own stay as they are.
func (c *conversion) nothing(path string) {
	if c.result.Form != FormPortico {
		c.needless(path)
	}
}

// leave takes a key out of values that began as those of the file.
func (c *conversion) leave(path string) {
	if c.result.Form == FormPortico {
		remove(c.result.Values, path)
	}
}

// put sets a value of the result. Two keys may say the same twice, and nothing
// else.
func (c *conversion) put(r row, to string, v any) error {
	if to != r.path {
		c.leave(r.path)
	}
	if err := c.set(r.path, to, v); err != nil {
		return err
	}
	c.result.Mapped = append(c.result.Mapped, Mapping{From: r.path, To: to, Note: r.note})
	return nil
}

// set is put without an entry in the account. Entries that several keys have
// for one list or map are joined; about anything else the keys must agree.
func (c *conversion) set(from, to string, v any) error {
	first, has := c.origin[to]
	c.origin[to] = from
	if !has {
		store(c.result.Values, to, v)
		return nil
	}
	joined, ok := unite(lookup(c.result.Values, to), v)
	if !ok {
		return &ValueError{Path: from, Why: fmt.Sprintf("says something else than %s; both are %s of Portico", first, to)}
	}
	store(c.result.Values, to, joined)
	return nil
}

// unite joins two values for one key, if they do not contradict each other.
func unite(a, b any) (any, bool) {
	switch a := a.(type) {
	case []any:
		b, ok := b.([]any)
		all := slices.Clone(a)
		for _, v := range b {
			if !slices.ContainsFunc(all, func(has any) bool { return reflect.DeepEqual(has, v) }) {
				all = append(all, v)
			}
		}
		return all, ok
	case map[string]any:
		b, ok := b.(map[string]any)
		all := maps.Clone(a)
		for k, v := range b {
			if has, both := all[k]; both && !reflect.DeepEqual(has, v) {
				return nil, false
			}
			all[k] = v
		}
		return all, ok
	}
	return a, reflect.DeepEqual(a, b)
}

// lookup is the value at a path of nested maps, or nil.
func lookup(in map[string]any, path string) any {
	var v any = in
	for key := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

// store sets the value at a path of nested maps.
func store(in map[string]any, path string, v any) {
	keys := strings.Split(path, ".")
	for _, key := range keys[:len(keys)-1] {
		below, ok := in[key].(map[string]any)
		if !ok {
			below = map[string]any{}
			in[key] = below
		}
		in = below
	}
	in[keys[len(keys)-1]] = v
}

// remove takes the value at a path out of nested maps, with the maps that it
// leaves empty.
func remove(in map[string]any, path string) {
	key, rest, deeper := strings.Cut(path, ".")
	if !deeper {
		delete(in, key)
		return
	}
	if below, ok := in[key].(map[string]any); ok {
		remove(below, rest)
		if len(below) == 0 {
			delete(in, key)
		}
	}
}

// copied is a copy of nested maps and lists.
func copied(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = copied(v[k])
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = copied(v[i])
		}
		return out
	}
	return v
}

func isTrue(v any) bool { return v == true || v == "true" }
