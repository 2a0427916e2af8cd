// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"reflect"
	"strings"
)

// structFields describes the fields of a struct type of the API. Asking the type
// itself costs an allocation per field, and every update asks.
type structFields struct {
	list []structField
	// json finds a field by the name it has in JSON, in inlined structs too.
	json map[string]structField
}

type structField struct {
	name    string // in JSON
	index   []int  // through inlined structs
	inlined bool   // its fields are those of the struct that it is in

	named     bool // see named
	fieldwise bool // see fieldwise
}

// fieldTable has the struct types that a Translator goes through: those of its
// rules, and those that an update keeps by field. It is filled when the
// Translator is made, and only read from then on.
type fieldTable map[reflect.Type]*structFields

// add describes a type, once.
func (t fieldTable) add(typ reflect.Type) *structFields {
	if fields, ok := t[typ]; ok {
		return fields
	}
	fields := &structFields{json: map[string]structField{}}
	for _, f := range reflect.VisibleFields(typ) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		field := structField{
			name: name, index: f.Index, inlined: f.Anonymous && name == "",
			named: named(f.Type), fieldwise: fieldwise(f.Type),
		}
		if len(f.Index) == 1 {
			fields.list = append(fields.list, field)
		}
		if _, ok := fields.json[name]; !ok && name != "" {
			fields.json[name] = field
		}
	}
	t[typ] = fields
	return fields
}

// addKept describes a type and the structs below it that keepStruct goes into.
func (t fieldTable) addKept(typ reflect.Type) {
	for _, f := range t.add(typ).list {
		below := typ.FieldByIndex(f.index).Type
		switch {
		case f.inlined:
			t.addKept(below)
		case f.named && fieldwise(below.Elem()), f.fieldwise:
			t.addKept(below.Elem())
		}
	}
}

// at returns a field of a struct that p points to, by its name in JSON.
func (t fieldTable) at(p any, name string) reflect.Value {
	v := reflect.ValueOf(p).Elem()
	return v.FieldByIndex(t[v.Type()].json[name].index)
}
