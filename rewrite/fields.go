// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"reflect"
	"strings"
	"sync"
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

// typesSeen holds the *structFields of types. These never change.
var typesSeen sync.Map

func fieldsOf(typ reflect.Type) *structFields {
	if seen, ok := typesSeen.Load(typ); ok {
		return seen.(*structFields)
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
	seen, _ := typesSeen.LoadOrStore(typ, fields)
	return seen.(*structFields)
}
