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

// The chart grants exactly the rights over mapped Services that porticod needs,
// and binds them to porticod's ServiceAccount.
func TestRightsOverMappedServices(t *testing.T) {
	mapping := func(from, to string) map[string]any { return map[string]any{"from": from, "to": to} }
	values := map[string]any{"mapServices": map[string]any{
		"fromHost": []any{
			mapping("default/nettool-host", "default/nettool-host"), mapping("infra/db", "shop/db"),
			mapping("default/a", "shop/a"), mapping("default/a", "shop/b"), mapping("portico-demo/own", "shop/own"),
		},
		"fromVirtual": []any{mapping("default/nettool-virtual", "nettool-virtual")},
	}}
	c := config.Default()
	c.Name, c.Host.Namespace = "net", "portico-demo"
	for _, m := range values["mapServices"].(map[string]any)["fromHost"].([]any) {
		c.MapServices.FromHost = append(c.MapServices.FromHost, config.ServiceMapping{From: m.(map[string]any)["from"].(string)})
	}
	c.MapServices.FromVirtual = []config.ServiceMapping{{From: "default/nettool-virtual", To: "nettool-virtual"}}
	grants := rights.For(c)

	want := map[string][]rbacv1.PolicyRule{"portico-demo": rights.Role(grants)}
	for _, namespace := range rights.Namespaces(grants) {
		want[namespace] = rights.RoleIn(grants, namespace)
	}
	got, bound := map[string][]rbacv1.PolicyRule{}, map[string]rbacv1.Subject{}
	content, err := yaml.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	files, err := template(t, "net", string(content))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if !strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, "uninstall.yaml") {
			continue
		}
		for _, document := range strings.Split(text, "\n---\n") {
			var role rbacv1.Role
			if err := yaml.Unmarshal([]byte(document), &role); err == nil && role.Kind == "Role" {
				got[role.Namespace] = role.Rules
			}
			var binding rbacv1.RoleBinding
			if err := yaml.Unmarshal([]byte(document), &binding); err == nil && binding.Kind == "RoleBinding" && len(binding.Subjects) == 1 {
				bound[binding.Namespace] = binding.Subjects[0]
			}
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Roles (-rights +chart):\n%s", d)
	}
	for namespace := range want {
		if s := bound[namespace]; s.Namespace != "portico-demo" || s.Name != "net" || s.Kind != rbacv1.ServiceAccountKind {
			t.Errorf("the Role in %s is bound to %+v", namespace, s)
		}
	}
}
