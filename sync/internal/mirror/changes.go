// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
)

// Changes names the fields in which two structs of one type differ, by their
// names in JSON.
func Changes(before, after any) []string {
	return changes(reflect.ValueOf(before), reflect.ValueOf(after))
}

func changes(before, after reflect.Value) []string {
	var names []string
	for i := range before.NumField() {
		b, a := before.Field(i), after.Field(i)
		name, _, _ := strings.Cut(before.Type().Field(i).Tag.Get("json"), ",")
		switch {
		case equality.Semantic.DeepEqual(b.Interface(), a.Interface()):
		case name == "": // inline
			names = append(names, changes(b, a)...)
		default:
			names = append(names, name)
		}
	}
	return names
}
