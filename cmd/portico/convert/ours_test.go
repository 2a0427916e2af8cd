// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"reflect"
	"strings"
	"testing"

	"portico.dev/portico/cmd/porticod/config"
)

// TestPorticosKeysAreThoseOfItsConfiguration: the rows of Portico's own form
// follow the types that porticod reads.
func TestPorticosKeysAreThoseOfItsConfiguration(t *testing.T) {
	known := map[string]bool{}
	keysOf(known, "", reflect.TypeFor[config.Config]())
	for key := range known {
		if _, has := tables[FormPortico].rows[key]; !has {
			t.Errorf("no row for %s of the configuration", key)
		}
	}
	for _, r := range porticoRows {
		// The chart's own keys, and those that come with package mapservices.
		if !known[r.path] && !strings.HasPrefix(r.path, "controlPlane.") && !strings.HasPrefix(r.path, "mapServices.") {
			t.Errorf("the row %s is no key of the configuration", r.path)
		}
	}
}

// keysOf adds the keys below a type, down to where rows look at nothing more.
func keysOf(known map[string]bool, path string, t reflect.Type) {
	if t.Kind() != reflect.Struct || strings.HasSuffix(path, ".selector") {
		known[path] = true
		return
	}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		keysOf(known, join(path, name), t.Field(i).Type)
	}
}
