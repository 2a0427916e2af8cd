// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"sigs.k8s.io/yaml"
)

// Form is a generation of values files.
type Form string

// The forms that Convert knows.
const (
	// FormPortico is that of Portico's chart.
	FormPortico Form = "Portico"
	// FormNew is that of vcluster 0.20 and later, vcluster.yaml.
	FormNew Form = "vcluster 0.20 and later"
	// FormOld is that of the charts of vcluster before 0.20.
	FormOld Form = "vcluster before 0.20"
)

// Result is a converted file.
type Result struct {
	// Form of the file.
	Form Form
	// Values for Portico's chart.
	Values map[string]any
	// Mapped are the keys that have a counterpart. It is empty for a file that
	// is Portico's already.
	Mapped []Mapping
	// Missing are the keys that ask for something that Portico does not do, or
	// does otherwise. A file in Portico's form can have some, too.
	Missing []Missing
	// Needless are the paths whose values ask for nothing that Portico does not
	// do without them.
	Needless []string
}

// Mapping is a key that has a counterpart.
type Mapping struct{ From, To, Note string }

// Missing is a key that has none.
type Missing struct{ Path, Why string }

// Convert returns the values for Portico's chart of a values file in any form,
// or every mistake in its keys.
func Convert(in []byte) (Result, error) {
	content, err := decode(in)
	if err != nil {
		return Result{}, err
	}
	return convert(content)
}

func convert(content map[string]any) (Result, error) {
	forms := formsOf(content)
	result, err := convertFrom(forms[0], content)
	if len(result.Missing) > 0 && forms[0] == FormPortico && len(forms) > 1 {
		// It is as likely that the keys that Portico lacks are vcluster's.
		return convertFrom(forms[1], content)
	}
	return result, err
}

func convertFrom(form Form, content map[string]any) (Result, error) {
	c := &conversion{in: content, result: Result{Form: form, Values: map[string]any{}}, origin: map[string]string{}}
	if form == FormPortico {
		c.result.Values = copied(content).(map[string]any)
	}
	if errs := c.walk(tables[form], "", content); len(errs) > 0 {
		return Result{}, errors.Join(errs...)
	}
	if form == FormPortico {
		// A key that did not change needs no account.
		c.result.Mapped = slices.DeleteFunc(c.result.Mapped, func(m Mapping) bool { return m.From == m.To })
	}
	return c.result, nil
}

// decode reads YAML. A key that is there twice is an error: either may be the
// one that was meant.
func decode(in []byte) (map[string]any, error) {
	raw, err := yaml.YAMLToJSONStrict(in)
	if err != nil {
		return nil, fmt.Errorf("read values: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("read values: %w", err)
	}
	switch v := numbers(v).(type) {
	case nil:
		return map[string]any{}, nil
	case map[string]any:
		return v, nil
	}
	return nil, errors.New("read values: the file must hold keys and values")
}

// numbers makes whole numbers int64, as Helm does.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64() // a JSON number always parses
		return f
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}

// formsOf are the forms that know most of the file, all as much: Portico's
// first.
func formsOf(content map[string]any) []Form {
	var best []Form
	most := -1
	for _, form := range []Form{FormPortico, FormNew, FormOld} {
		switch n := tables[form].credit("", content); {
		case n > most:
			best, most = []Form{form}, n
		case n == most:
			best = append(best, form)
		}
	}
	return best
}

// walk applies the rows of a table to all values below a path.
func (c *conversion) walk(t *table, path string, in map[string]any) []error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(in)) {
		at, v := join(path, key), in[key]
		if r, has := t.rows[at]; has {
			if err := r.apply(c, v); err != nil {
				errs = append(errs, err)
			}
			continue
		}
		if !t.isSection(at) {
			errs = append(errs, t.unknown(path, key, v)...)
			continue
		}
		switch v := v.(type) {
		case nil:
			c.nothing(at)
		case map[string]any:
			if len(v) == 0 {
				c.nothing(at)
			}
			errs = append(errs, c.walk(t, at, v)...)
		default:
			errs = append(errs, &ValueError{Path: at, Why: "must be a map"})
		}
	}
	return errs
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
