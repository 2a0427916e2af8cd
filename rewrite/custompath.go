// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"errors"
	"slices"
	"strings"
)

// each is the step of a path into all elements of a list.
const each = "[]"

// CustomPath leads to fields of an object without a type, such as
// spec.tls[].secretName. A key with dots is written in brackets and quotes:
// spec["a.b/c"].
type CustomPath []string

// ParseCustomPath reads a path. It begins with a field of the object that is
// neither its metadata nor its status.
func ParseCustomPath(text string) (CustomPath, error) {
	var path CustomPath
	for rest := text; rest != ""; {
		switch {
		case strings.HasPrefix(rest, each):
			path, rest = append(path, each), rest[len(each):]
		case strings.HasPrefix(rest, `["`):
			end := strings.Index(rest, `"]`)
			if end < 0 {
				return nil, errors.New(`a [" without a "]`)
			}
			path, rest = append(path, rest[2:end]), rest[end+2:]
		default:
			if rest[0] == '.' && len(path) > 0 {
				rest = rest[1:]
			}
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			path, rest = append(path, rest[:end]), rest[end:]
		}
		if path[len(path)-1] == "" {
			return nil, errors.New("a step without a name")
		}
	}
	switch {
	case len(path) == 0:
		return nil, errors.New("an empty path")
	case path[0] == each || slices.Contains([]string{"apiVersion", "kind", "metadata", "status"}, path[0]):
		return nil, errors.New("must begin with a field such as spec, and not with metadata or status")
	case strings.Contains(text, each+each):
		return nil, errors.New("lists of lists cannot be reached")
	}
	return path, nil
}

// String is the path as ParseCustomPath reads it.
func (p CustomPath) String() string {
	var b strings.Builder
	for _, step := range p {
		switch {
		case step == each:
			b.WriteString(each)
		case strings.ContainsAny(step, ".["):
			b.WriteString(`["` + step + `"]`)
		default:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(step)
		}
	}
	return b.String()
}

// OfElements reports whether the path leads to the elements of a list.
func (p CustomPath) OfElements() bool { return p[len(p)-1] == each }

// with returns the path of something below.
func (p CustomPath) with(step string) CustomPath { return append(slices.Clip(p), step) }

// inside reports whether the path leads to the field at prefix or below it.
func (p CustomPath) inside(prefix CustomPath) bool {
	return len(p) >= len(prefix) && slices.Equal(p[:len(prefix)], prefix)
}

// change calls do with each value of the path whose parent is there, and puts the
// result in its place; nil takes it away. The value is nil where there is none.
func (p CustomPath) change(object map[string]any, do func(parent map[string]any, value any) (any, error)) error {
	return change(object, p, do)
}

func change(parent map[string]any, path CustomPath, do func(map[string]any, any) (any, error)) error {
	key := path[0]
	below := path[1:]
	if len(below) == 0 {
		return put(parent, key, do, parent[key])
	}
	if below[0] != each {
		if child, ok := parent[key].(map[string]any); ok {
			return change(child, below, do)
		}
		return nil
	}
	list, ok := parent[key].([]any)
	if !ok {
		return nil
	}
	var errs []error
	for i := range list {
		if len(below) == 1 {
			changed, err := do(parent, list[i])
			if err == nil && changed != nil {
				list[i] = changed
			}
			errs = append(errs, err)
		} else if element, ok := list[i].(map[string]any); ok {
			errs = append(errs, change(element, below[1:], do))
		}
	}
	return errors.Join(errs...)
}

func put(parent map[string]any, key string, do func(map[string]any, any) (any, error), value any) error {
	changed, err := do(parent, value)
	if err != nil {
		return err
	}
	if changed == nil {
		delete(parent, key)
		return nil
	}
	parent[key] = changed
	return nil
}
