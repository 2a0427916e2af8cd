// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package charts_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"portico.dev/portico/charts"
	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/cmd/porticod/rights"
)

// render returns what templates of the chart make of values, by the end of their
// names.
func render(t *testing.T, values map[string]any) map[string]string {
	t.Helper()
	root, err := fs.Sub(charts.Portico, "portico")
	if err != nil {
		t.Fatal(err)
	}
	var files []*archive.BufferedFile
	err = fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(root, path)
		files = append(files, &archive.BufferedFile{Name: path, Data: content})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	chart, err := loader.LoadFiles(files)
	if err != nil {
		t.Fatal(err)
	}
	all, err := util.ToRenderValues(chart, values, common.ReleaseOptions{Name: "net", Namespace: "portico-net"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := engine.Render(chart, all)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The chart grants exactly the rights over mapped Services that porticod needs,
// and binds them to porticod's ServiceAccount.
func TestRightsOverMappedServices(t *testing.T) {
	mapping := func(from, to string) map[string]any { return map[string]any{"from": from, "to": to} }
	values := map[string]any{"mapServices": map[string]any{
		"fromHost": []any{
			mapping("default/nettool-host", "default/nettool-host"), mapping("infra/db", "shop/db"),
			mapping("default/a", "shop/a"), mapping("default/a", "shop/b"), mapping("portico-net/own", "shop/own"),
		},
		"fromVirtual": []any{mapping("default/nettool-virtual", "nettool-virtual")},
	}}
	c := config.Default()
	c.Name, c.Host.Namespace = "net", "portico-net"
	for _, m := range values["mapServices"].(map[string]any)["fromHost"].([]any) {
		c.MapServices.FromHost = append(c.MapServices.FromHost, config.ServiceMapping{From: m.(map[string]any)["from"].(string)})
	}
	c.MapServices.FromVirtual = []config.ServiceMapping{{From: "default/nettool-virtual", To: "nettool-virtual"}}
	grants := rights.Of(c)

	want := map[string][]rbacv1.PolicyRule{"portico-net": rights.Role(grants)}
	for _, namespace := range rights.Namespaces(grants) {
		want[namespace] = rights.RoleIn(grants, namespace)
	}
	got, bound := map[string][]rbacv1.PolicyRule{}, map[string]rbacv1.Subject{}
	for name, text := range render(t, values) {
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
		if s := bound[namespace]; s.Namespace != "portico-net" || s.Name != "net" || s.Kind != rbacv1.ServiceAccountKind {
			t.Errorf("the Role in %s is bound to %+v", namespace, s)
		}
	}
}
