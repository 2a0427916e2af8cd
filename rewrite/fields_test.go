// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// fieldAt is one field of a struct, somewhere in an object.
type fieldAt struct{ path, owner, name string }

// eachField calls do for every field of spec and status, and for those below it
// if do returns true.
func eachField(typ reflect.Type, do func(fieldAt) bool) {
	for _, part := range []string{"Spec", "Status"} {
		f, _ := typ.FieldByName(part)
		fieldsBelow(strings.ToLower(part), f.Type, do)
	}
}

func fieldsBelow(path string, typ reflect.Type, do func(fieldAt) bool) {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		if typ.Kind() == reflect.Slice {
			path += "[]"
		}
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct || sample(typ, "x").IsValid() {
		return
	}
	for _, f := range fieldsOf(typ) {
		if do(fieldAt{path: path + "." + f.name, owner: typ.String(), name: f.name}) {
			fieldsBelow(path+"."+f.name, f.typ, do)
		}
	}
}

// eachLeaf calls do for every field below path that holds a value.
func eachLeaf(path string, typ reflect.Type, do func(path string)) {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch {
	case sample(typ, "x").IsValid():
		do(path)
	case typ.Kind() == reflect.Slice:
		eachLeaf(path+"[]", typ.Elem(), do)
	default:
		for _, f := range fieldsOf(typ) {
			eachLeaf(path+"."+f.name, f.typ, do)
		}
	}
}

type structField struct {
	name  string
	typ   reflect.Type
	index []int
}

// fieldsOf lists the fields of a struct as JSON has them.
func fieldsOf(typ reflect.Type) []structField {
	var all []structField
	for _, f := range reflect.VisibleFields(typ) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			all = append(all, structField{name: name, typ: f.Type, index: f.Index})
		}
	}
	return all
}

// sample is a value of a type that holds one, with word for its text. It is not
// valid for any other type.
func sample(typ reflect.Type, word string) reflect.Value {
	switch typ {
	case reflect.TypeFor[resource.Quantity]():
		return reflect.ValueOf(resource.MustParse("1"))
	case reflect.TypeFor[metav1.Time]():
		return reflect.ValueOf(metav1.Unix(1e9, 0))
	case reflect.TypeFor[intstr.IntOrString]():
		return reflect.ValueOf(intstr.FromInt32(1))
	case reflect.TypeFor[runtime.RawExtension]():
		return reflect.ValueOf(runtime.RawExtension{Raw: []byte(`{"x":1}`)})
	case reflect.TypeFor[metav1.FieldsV1]():
		return reflect.ValueOf(*metav1.NewFieldsV1(`{"f:x":{}}`))
	}
	v := reflect.New(typ).Elem()
	switch typ.Kind() {
	case reflect.String:
		v.SetString(word)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64, reflect.Uint8:
		v.Set(reflect.ValueOf(1).Convert(typ))
	case reflect.Map:
		e := sample(typ.Elem(), word)
		if !e.IsValid() {
			e = reflect.New(typ.Elem()).Elem()
		}
		v.Set(reflect.MakeMap(typ))
		v.SetMapIndex(sample(typ.Key(), word), e)
	default:
		return reflect.Value{}
	}
	return v
}

// place sets the field at path, or, without a word, makes only the structs
// around it. Lists on the way get one element.
func place(v reflect.Value, path, word string) {
	path = strings.TrimPrefix(path, ".")
	if path == "" && word == "" {
		return
	}
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	if path == "" {
		v.Set(sample(v.Type(), word))
		return
	}
	if rest, ok := strings.CutPrefix(path, "[]"); ok {
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		place(v.Index(0), rest, word)
		return
	}
	end := strings.IndexAny(path, ".[")
	if end < 0 {
		end = len(path)
	}
	for _, f := range fieldsOf(v.Type()) {
		if f.name == path[:end] {
			place(v.FieldByIndex(f.index), path[end:], word)
			return
		}
	}
}
