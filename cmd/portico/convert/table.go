// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"portico.dev/portico/cmd/internal/suggest"
)

// table holds the rows of a form.
type table struct {
	form  Form
	order []row
	rows  map[string]row
	below map[string][]string // keys by the section that they are in
}

// tables are the known forms.
var tables = map[Form]*table{
	FormPortico: newTable(FormPortico, porticoRows),
	FormNew:     newTable(FormNew, slices.Concat(newSyncRows, newClusterRows, newControlRows, newStoreRows, newWorkloadRows)),
	FormOld:     newTable(FormOld, slices.Concat(oldRows, oldSyncRows, oldWorkloadRows)),
}

func newTable(form Form, rows []row) *table {
	t := &table{form: form, order: rows, rows: map[string]row{}, below: map[string][]string{}}
	for _, r := range rows {
		t.rows[r.path] = r
		section := ""
		for key := range strings.SplitSeq(r.path, ".") {
			if !slices.Contains(t.below[section], key) {
				t.below[section] = append(t.below[section], key)
			}
			section = join(section, key)
		}
	}
	return t
}

// isSection says whether there are keys below a path.
func (t *table) isSection(path string) bool { return len(t.below[path]) > 0 }

// credit is how much of the keys below a path the form knows: for each, the
// levels that it has.
func (t *table) credit(path string, v any) int {
	if _, has := t.rows[path]; has || path != "" && !t.isSection(path) {
		// Known to the last level, or not at all: nothing more is to be known below.
		if !has {
			return 0
		}
		return leafCount(v)
	}
	n := 0
	if m, ok := v.(map[string]any); ok {
		for key, below := range m {
			n += t.credit(join(path, key), below)
		}
	}
	if path != "" {
		n += leafCount(v)
	}
	return n
}

func leafCount(v any) int {
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 {
		return 1
	}
	n := 0
	for _, below := range m {
		n += leafCount(below)
	}
	return n
}

// unknown are the errors for a key that the form does not have below a path.
func (t *table) unknown(path, key string, v any) []error {
	at := join(path, key)
	for _, form := range []Form{FormPortico, FormNew, FormOld} {
		if other := tables[form]; other != t {
			if errs := t.foreign(other, at, v); len(errs) > 0 {
				return errs
			}
		}
	}
	e := &KeyError{Path: at, Form: t.form}
	if meant := suggest.Closest(key, t.below[path]); meant != "" {
		e.Meant = join(path, meant)
	} else {
		e.Meant = t.elsewhere(key)
	}
	return []error{e}
}

// foreign are the errors for the keys of another form at a path and below.
func (t *table) foreign(other *table, path string, v any) []error {
	if r, has := other.rows[path]; has {
		return []error{&KeyError{Path: path, Form: t.form, Other: other.form, Meant: t.counterpart(r.to)}}
	}
	below, ok := v.(map[string]any)
	if !other.isSection(path) || !ok {
		return nil
	}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(below)) {
		errs = append(errs, t.foreign(other, join(path, key), below[key])...)
	}
	return errs
}

// counterpart is the key of this form that becomes the same key of Portico's,
// one whose value only moves rather than another.
func (t *table) counterpart(to string) string {
	found := ""
	for _, r := range t.order {
		if to != "" && r.to == to && (found == "" || r.rule == nil) {
			found = r.path
			if r.rule == nil {
				break
			}
		}
	}
	return found
}

// elsewhere is the one key of this form that has this name on another level.
func (t *table) elsewhere(key string) string {
	var found []string
	for section, keys := range t.below {
		for _, k := range keys {
			if strings.EqualFold(k, key) {
				found = append(found, join(section, k))
			}
		}
	}
	if len(found) != 1 {
		return ""
	}
	return found[0]
}

// KeyError is a key that a form does not have.
type KeyError struct {
	// Path is that of the key, and Form the form of its file.
	Path string
	Form Form
	// Other is the form that has it, if another has.
	Other Form
	// Meant is the path of the key that was probably meant, if there is one.
	Meant string
}

func (e *KeyError) Error() string {
	switch {
	case e.Other != "" && e.Meant != "":
		return fmt.Sprintf("%s: a key of %s in a file for %s, where it is %s", e.Path, e.Other, e.Form, e.Meant)
	case e.Other != "":
		return fmt.Sprintf("%s: a key of %s in a file for %s; a file has one form", e.Path, e.Other, e.Form)
	case e.Meant != "":
		return fmt.Sprintf("%s: no such key; did you mean %s?", e.Path, e.Meant)
	}
	return fmt.Sprintf("%s: no such key (the file looks like one for %s)", e.Path, e.Form)
}

// ValueError is a value that cannot be converted.
type ValueError struct{ Path, Why string }

func (e *ValueError) Error() string { return e.Path + ": " + e.Why }
