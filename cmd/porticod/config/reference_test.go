// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// updating reports the flag that config_test.go declares.
func updating() bool { return flag.Lookup("update").Value.String() == "true" }

// leaves returns the paths of all values of a type, those that are lists, maps
// or types of Kubernetes as a whole.
func leaves(t reflect.Type, path string) []string {
	if t.Kind() != reflect.Struct || !strings.HasPrefix(t.PkgPath(), "portico.dev/portico/") {
		return []string{path}
	}
	var all []string
	eachField(t, path, func(_, at string, f reflect.Type) { all = append(all, leaves(f, at)...) })
	return all
}

// TestEveryKeyIsDocumented, once, and nothing else is.
func TestEveryKeyIsDocumented(t *testing.T) {
	var documented []string
	for _, k := range reference {
		documented = append(documented, k.each()...)
	}
	want := leaves(reflect.TypeFor[Config](), "")
	slices.Sort(documented)
	slices.Sort(want)
	if d := cmp.Diff(want, documented); d != "" {
		t.Errorf("keys.go (-types +documented):\n%s", d)
	}
}

// TestDocumentedDefaultsHold, as far as they are numbers, words and switches.
func TestDocumentedDefaultsHold(t *testing.T) {
	for _, k := range reference {
		for i, path := range k.each() {
			v := at(reflect.ValueOf(*Default()), path)
			switch v.Kind() {
			case reflect.String, reflect.Int, reflect.Int32, reflect.Bool:
			default:
				continue
			}
			if v.IsZero() && v.Kind() != reflect.Bool {
				continue // the text names the other value that it follows
			}
			standard := strings.Split(k.standard, ", ")
			if got := strings.Trim(standard[min(i, len(standard)-1)], "`"); got != fmt.Sprint(v.Interface()) {
				t.Errorf("%s is documented as %s, and is %v", path, got, v.Interface())
			}
		}
	}
}

func at(v reflect.Value, path string) reflect.Value {
	name, rest, _ := strings.Cut(path, ".")
	for i := range v.NumField() {
		if json, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); json == name && rest != "" {
			return at(v.Field(i), rest)
		} else if json == name {
			return v.Field(i)
		}
	}
	panic("no key " + path)
}

// TestPageHasTheTable: docs/configuration.md is written by this test.
func TestPageHasTheTable(t *testing.T) {
	const page = "../../../docs/configuration.md"
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	begin := strings.Index(string(content), "| key | default | meaning |\n")
	if begin < 0 {
		t.Fatalf("%s has no table of keys", page)
	}
	length := strings.Index(string(content[begin:]), "\n\n") + 1
	got := string(content[begin : begin+length])
	if d := cmp.Diff(Reference(), got); d == "" {
		return
	} else if !updating() {
		t.Fatalf("%s is out of date; go test ./cmd/porticod/config -update writes it again (-want +got):\n%s", page, d)
	}
	anew := string(content[:begin]) + Reference() + string(content[begin+length:])
	if err := os.WriteFile(page, []byte(anew), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSchemaKnowsEveryKey, and refuses all others on every level.
func TestSchemaKnowsEveryKey(t *testing.T) {
	var paths []string
	visit := func(path string, s map[string]any) bool {
		paths = append(paths, path)
		if s["type"] == "object" && s["additionalProperties"] == nil {
			t.Errorf("%s takes any key", path)
		}
		return true
	}
	SchemaOf(reflect.TypeFor[Config](), visit)
	for path := range limits {
		if !slices.Contains(paths, path) {
			t.Errorf("limits has %s, which is no key", path)
		}
	}
	for _, path := range leaves(reflect.TypeFor[Config](), "") {
		if !slices.Contains(paths, path) {
			t.Errorf("the schema does not have %s", path)
		}
	}
	s := Schema("host.kubeconfig")
	host := s["properties"].(map[string]any)["host"].(map[string]any)["properties"].(map[string]any)
	if _, there := host["kubeconfig"]; there || host["qps"].(map[string]any)["maximum"] != mostOfHost || s["additionalProperties"] != false {
		t.Errorf("schema of host: %v", host)
	}
	if text := host["qps"].(map[string]any)["description"].(string); !strings.Contains(text, "See bounds") || strings.ContainsAny(text, "`[") {
		t.Errorf("description of host.qps: %s", text)
	}
}
