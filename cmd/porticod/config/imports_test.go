// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func TestMappingsOfObjects(t *testing.T) {
	of := func(from, to string) *FromHostObjects {
		return &FromHostObjects{Enabled: true, Mappings: ObjectMappings{ByName: map[string]string{from: to}}}
	}
	name := func(namespace, name string) types.NamespacedName {
		return types.NamespacedName{Namespace: namespace, Name: name}
	}
	for reason, c := range map[string]struct {
		from, to string
		want     *ObjectMapping // nil: refused
	}{
		"by name":           {"infra/ca", "shop/bundle", &ObjectMapping{name("infra", "ca"), name("shop", "bundle")}},
		"same name":         {"infra/ca", "shop", &ObjectMapping{name("infra", "ca"), name("shop", "ca")}},
		"same, with a star": {"infra/ca", "shop/*", &ObjectMapping{name("infra", "ca"), name("shop", "ca")}},
		"own namespace":     {"/ca", "shop", &ObjectMapping{name("own", "ca"), name("shop", "ca")}},
		"all":               {"infra/*", "shop/*", &ObjectMapping{name("infra", ""), name("shop", "")}},
		"all, in short":     {"infra/*", "shop", &ObjectMapping{name("infra", ""), name("shop", "")}},
		"all of one's own":  {"own/*", "shop", nil},
		"all, by a slash":   {"/*", "shop", nil},
		"all, by nothing":   {"", "shop", nil},
		"all as one":        {"infra/*", "shop/one", nil},
		"to nowhere":        {"infra/ca", "", nil},
		"no namespace":      {"ca", "shop", nil},
		"a bad name":        {"infra/CA", "shop", nil},
	} {
		t.Run(reason, func(t *testing.T) {
			o := of(c.from, c.to)
			errs := o.validate(field.NewPath("x"), "own")
			if (len(errs) == 0) != (c.want != nil) {
				t.Fatalf("errors: %v", errs)
			}
			if c.want != nil {
				if d := cmp.Diff([]ObjectMapping{*c.want}, o.Shown("own")); d != "" {
					t.Error(d)
				}
			}
		})
	}
	twice := &FromHostObjects{Enabled: true, Mappings: ObjectMappings{ByName: map[string]string{"a/x": "shop", "b/x": "shop"}}}
	if errs := twice.validate(field.NewPath("x"), "own"); len(errs) != 1 {
		t.Errorf("two objects for one name: %v", errs)
	}
	if errs := (&FromHostObjects{Enabled: true}).validate(field.NewPath("x"), "own"); len(errs) != 1 {
		t.Errorf("no mapping: %v", errs)
	}
	whole := &FromHostObjects{Enabled: true, Mappings: ObjectMappings{ByName: map[string]string{"a/x": "s1", "a/*": "s2", "b/y": "s3", "/z": "s4"}}}
	if d := cmp.Diff(map[string][]string{"a": nil, "b": {"y"}}, whole.HostObjects("own")); d != "" {
		t.Error(d)
	}
}
