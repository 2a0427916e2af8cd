// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/cmd/porticod/rights"
)

// The chart grants exactly the rights over imported objects that porticod needs.
func TestRightsOverImportedObjects(t *testing.T) {
	values := `
sync:
  fromHost:
    configMaps: {enabled: true, mappings: {byName: {"infra/ca": shop, "infra/b": "shop/c", "all/*": "shop/*", "all/one": "two/x", "/own": shop, "portico-demo/other": shop}}}
    secrets: {enabled: true, mappings: {byName: {"infra/key": shop}}}
`
	c := config.Default()
	c.Name, c.Host.Namespace = "net", "portico-demo"
	if err := yaml.Unmarshal([]byte(values), c); err != nil {
		t.Fatal(err)
	}
	grants := rights.For(c)
	want := map[string][]rbacv1.PolicyRule{}
	for _, namespace := range rights.Namespaces(grants) {
		want[namespace] = rights.RoleIn(grants, namespace)
	}
	if len(want) != 2 {
		t.Fatalf("rights in %v", rights.Namespaces(grants))
	}
	files, err := template(t, "net", values)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]rbacv1.PolicyRule{}
	for name, text := range files {
		if !strings.HasSuffix(name, "imports.yaml") {
			continue
		}
		for _, document := range strings.Split(text, "\n---\n") {
			var role rbacv1.Role
			if err := yaml.Unmarshal([]byte(document), &role); err == nil && role.Kind == "Role" {
				got[role.Namespace] = role.Rules
			}
			var binding rbacv1.RoleBinding
			if err := yaml.Unmarshal([]byte(document), &binding); err == nil && binding.Kind == "RoleBinding" {
				if s := binding.Subjects[0]; s.Namespace != "portico-demo" || s.Name != "net" {
					t.Errorf("the Role in %s is bound to %+v", binding.Namespace, s)
				}
			}
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Roles (-rights +chart):\n%s", d)
	}
}
