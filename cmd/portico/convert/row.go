// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"reflect"
	"strconv"
)

// row is the rule for a key of a form, and for all that is below it.
type row struct {
	// path of the key, with dots between the levels.
	path string
	// to is the key of Portico's that the value is for; "" if there is none.
	to string
	// kind of the value, if it matters.
	kind kind
	// note is a remark, or the reason why there is no counterpart.
	note string
	// same are values that ask for nothing that Portico does not do anyhow.
	same []any
	// strict: a value that is empty or false is no exception to the note.
	strict bool
	// when is the key that must be on for this one to have a meaning.
	when string
	// rule brings a value that does not only move to its place.
	rule func(*conversion, row, any) error
}

// kind of a value.
type kind string

const (
	boolean  kind = "true or false"
	number   kind = "a number"
	text     kind = "a text"
	list     kind = "a list"
	object   kind = "a map"
	anything kind = "anything"
)

// move is a row whose value moves as it is.
func move(path, to string, k kind, note string) row {
	return row{path: path, to: to, kind: k, note: note}
}

// ours is a row of a key that Portico has too.
func ours(path string, k kind) row { return row{path: path, to: path, kind: k} }

// via is a row whose value takes another form on its way.
func via(path, to string, k kind, rule func(*conversion, row, any) error, note string) row {
	return row{path: path, to: to, kind: k, rule: rule, note: note}
}

// none is a row without counterpart. A value that asks for nothing is not
// missed, and neither are those in same.
func none(path, why string, same ...any) row {
	return row{path: path, note: why, same: same}
}

// always is a row of a switch that Portico does not have, because the thing is
// always on.
func always(path, why string) row {
	return row{path: path, note: why, same: []any{true, "true", "auto"}, strict: true}
}

// all is a row without counterpart of which no value is missed. It has the
// signature of none for the sake of each.
func all(path, note string, _ ...any) row {
	return row{path: path, note: note, rule: func(c *conversion, r row, _ any) error {
		c.needless(r.path)
		return nil
	}}
}

// each makes a row of each path.
func each(make func(path, why string, same ...any) row, why string, paths ...string) []row {
	var rows []row
	for _, p := range paths {
		rows = append(rows, make(p, why))
	}
	return rows
}

// when makes rows that mean nothing unless a switch is on.
func when(on string, rows ...row) []row {
	for i := range rows {
		rows[i].when = on
	}
	return rows
}

// one is a list of rows, for [slices.Concat].
func one(rows ...row) []row { return rows }

// apply gives a value its place in the result.
func (r row) apply(c *conversion, v any) error {
	switch {
	case c.result.Form == FormPortico && r.to == r.path && (v == nil || isEmpty(v)):
		return nil // as it is; to Helm, null takes a default away
	case v == nil, r.when != "" && !c.on(r.when), !r.strict && r.to == "" && r.rule == nil && asksNothing(v):
		c.needless(r.path)
		return nil
	case r.isSame(v):
		c.needless(r.path)
		return nil
	case (r.to != "" || r.rule != nil) && isEmpty(v):
		c.needless(r.path)
		return nil
	case r.kind != "" && !r.kind.fits(v):
		return &ValueError{Path: r.path, Why: "must be " + string(r.kind)}
	case r.rule != nil:
		return r.rule(c, r, v)
	case r.to == "":
		c.missing(r.path, r.note)
		return nil
	}
	return c.put(r, r.to, v)
}

func (r row) isSame(v any) bool {
	for _, s := range r.same {
		if reflect.DeepEqual(plain(s), plain(v)) {
			return true
		}
	}
	return false
}

// plain makes numbers of one type, for comparison.
func plain(v any) any {
	switch v := v.(type) {
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = plain(v[k])
		}
		return out
	}
	return v
}

func (k kind) fits(v any) bool {
	switch v.(type) {
	case bool:
		return k == boolean || k == anything
	case int64, float64:
		return k == number || k == anything
	case string:
		return k == text || k == anything
	case []any:
		return k == list || k == anything
	case map[string]any:
		return k == object || k == anything
	}
	return false
}

// isEmpty says whether a value has nothing in it.
func isEmpty(v any) bool {
	switch v := v.(type) {
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// asksNothing says whether a value is empty, false or switched off.
func asksNothing(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == "" || v == "false"
	case int64:
		return v == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		if enabled, has := v["enabled"]; has && asksNothing(enabled) {
			return true
		}
		for _, below := range v {
			if !asksNothing(below) {
				return false
			}
		}
		return true
	}
	return false
}
