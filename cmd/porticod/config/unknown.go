// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"portico.dev/portico/cmd/internal/suggest"
)

// unknownKey is the mistake that path is no key of the file.
func unknownKey(path string) *field.Error {
	detail := "no such key"
	parent, name := "", path
	if dot := strings.LastIndexByte(path, '.'); dot >= 0 {
		parent, name = path[:dot], path[dot+1:]
	}
	if meant := suggest.Closest(name, keysOf(parent)); meant != "" {
		detail += fmt.Sprintf("; did you mean %q?", meant)
	}
	return field.Forbidden(field.NewPath(path), detail)
}

// keysOf are the keys that the file can have below path, which "" is the top
// of. Below an unknown path there are none.
func keysOf(path string) []string {
	t := reflect.TypeFor[Config]()
	if path != "" {
		for name := range strings.SplitSeq(path, ".") {
			name, _, _ = strings.Cut(name, "[")
			if t = below(t, name); t == nil {
				return nil
			}
		}
	}
	var keys []string
	if t.Kind() == reflect.Struct {
		for i := range t.NumField() {
			keys = append(keys, jsonName(t.Field(i)))
		}
	}
	return keys
}

// below is the type of the value that the key leads to, or of its elements.
func below(t reflect.Type, key string) reflect.Type {
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		if f := t.Field(i); jsonName(f) == key {
			t = f.Type
			for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
				t = t.Elem()
			}
			return t
		}
	}
	return nil
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}
