// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"encoding/json"
	"maps"
	"slices"
)

// Change is a value that differs between two trees. An absent value is the
// chart's.
type Change struct {
	Path     string
	Old, New string // as JSON; empty for absent
}

func (c Change) String() string {
	show := func(v string) string {
		if v == "" {
			return "(default)"
		}
		return v
	}
	return c.Path + ": " + show(c.Old) + " -> " + show(c.New)
}

// Diff lists the values that differ, by path. Numbers that came from YAML and
// from Helm's records are the same when they read the same.
func Diff(before, after map[string]any) []Change {
	was, is := map[string]string{}, map[string]string{}
	flatten("", before, was)
	flatten("", after, is)
	paths := slices.Collect(maps.Keys(was))
	for p := range is {
		if _, known := was[p]; !known {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	var changes []Change
	for _, p := range paths {
		if was[p] != is[p] {
			changes = append(changes, Change{p, was[p], is[p]})
		}
	}
	return changes
}

func flatten(prefix string, values map[string]any, into map[string]string) {
	for k, v := range values {
		path := k
		if prefix != "" {
			path = prefix + "." + k
		}
		if m, ok := v.(map[string]any); ok && len(m) > 0 {
			flatten(path, m, into)
			continue
		}
		text, err := json.Marshal(v)
		if err != nil {
			text = []byte("?")
		}
		into[path] = string(text)
	}
}
