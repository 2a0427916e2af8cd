// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rights_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/cmd/porticod/rights"
)

func TestNothingClusterWideByDefault(t *testing.T) {
	grants := rights.For(config.Default())
	if got := rights.ClusterRole(grants); len(got) != 0 {
		t.Errorf("got %v, want no rule of a ClusterRole", got)
	}
	if len(rights.Role(grants)) == 0 {
		t.Error("no rule of a Role")
	}
}

func TestRightsFollowTheConfiguration(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*config.Config)
		want   rbacv1.PolicyRule
	}{
		"real nodes":              {func(c *config.Config) { c.Sync.Nodes.Enabled = true }, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"get", "list", "watch"}}},
		"selected nodes":          {func(c *config.Config) { c.Sync.Nodes.NodeSelector = "a=b" }, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"get", "list", "watch"}}},
		"scheduler inside":        {func(c *config.Config) { c.Sync.Nodes.EnableScheduler = true }, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list", "watch"}}},
		"pushed priority classes": {func(c *config.Config) { c.Sync.ToHost.PriorityClasses.Enabled = true }, rbacv1.PolicyRule{APIGroups: []string{"scheduling.k8s.io"}, Resources: []string{"priorityclasses"}, Verbs: []string{"get", "list", "watch", "create", "update", "delete"}}},
		"pushed storage classes":  {func(c *config.Config) { c.Sync.ToHost.StorageClasses.Enabled = true }, rbacv1.PolicyRule{APIGroups: []string{"storage.k8s.io"}, Resources: []string{"storageclasses"}, Verbs: []string{"get", "list", "watch", "create", "update", "delete"}}},
		"storage classes": {func(c *config.Config) {
			c.Sync.FromHost.StorageClasses.Selector.MatchLabels = map[string]string{"tenants": "yes"}
		}, rbacv1.PolicyRule{APIGroups: []string{"storage.k8s.io"}, Resources: []string{"storageclasses"}, Verbs: []string{"get", "list", "watch"}}},
		"device classes": {func(c *config.Config) { c.Sync.FromHost.DeviceClasses.Enabled = true }, rbacv1.PolicyRule{APIGroups: []string{"resource.k8s.io"}, Resources: []string{"deviceclasses"}, Verbs: []string{"get", "list", "watch"}}},
	} {
		t.Run(name, func(t *testing.T) {
			c := config.Default()
			tc.change(c)
			for _, r := range rights.ClusterRole(rights.For(c)) {
				if cmp.Equal(r, tc.want) {
					return
				}
			}
			t.Errorf("got %v, want %v among them", rights.ClusterRole(rights.For(c)), tc.want)
		})
	}
}

// A Service of another namespace costs a Role in that namespace, which names the
// Service. Nothing more is needed anywhere.
func TestMappedServicesNeedRolesOfTheirOwn(t *testing.T) {
	c := config.Default()
	c.Host.Namespace = "team-a"
	before := rights.Role(rights.For(c))
	for _, from := range []string{"shop/web", "shop/db", "team-a/own", "infra/log", "shop/web"} {
		c.MapServices.FromHost = append(c.MapServices.FromHost, config.ServiceMapping{From: from})
	}
	grants := rights.For(c)
	if d := cmp.Diff(before, rights.Role(grants)); d != "" || len(rights.ClusterRole(grants)) > 0 {
		t.Errorf("other rights than those in the namespaces (-before +after):\n%s\n%v", d, rights.ClusterRole(grants))
	}
	if d := cmp.Diff([]string{"infra", "shop"}, rights.Namespaces(grants)); d != "" {
		t.Errorf("namespaces (-want +got):\n%s", d)
	}
	want := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"services"}, ResourceNames: []string{"db", "web"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: []string{"get", "list", "watch"}},
	}
	if d := cmp.Diff(want, rights.RoleIn(grants, "shop")); d != "" {
		t.Errorf("Role in shop (-want +got):\n%s", d)
	}
	documents := strings.Split(rights.Manifest("porticod", "team-a", grants), "---\n")
	if len(documents) != 3 {
		t.Fatalf("got %d documents, want a Role in each of three namespaces", len(documents))
	}
	var role rbacv1.Role
	if err := yaml.UnmarshalStrict([]byte(documents[2]), &role); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, role.Rules); d != "" || role.Namespace != "shop" || role.Name != "team-a-porticod" || role.Kind != "Role" {
		t.Errorf("Role %s/%s (-want +got):\n%s", role.Namespace, role.Name, d)
	}
}

// TestManifestIsWhatItSays: the text parses to the rules it was made from.
func TestManifestIsWhatItSays(t *testing.T) {
	documents := strings.Split(rights.Manifest("porticod", "team-a", rights.All()), "---\n")
	if len(documents) != 2 {
		t.Fatalf("got %d documents, want a Role and a ClusterRole", len(documents))
	}
	var role rbacv1.Role
	if err := yaml.UnmarshalStrict([]byte(documents[0]), &role); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(rights.Role(rights.All()), role.Rules); d != "" || role.Namespace != "team-a" || role.Kind != "Role" {
		t.Errorf("Role %s/%s (-want +got):\n%s", role.Namespace, role.Name, d)
	}
	var clusterRole rbacv1.ClusterRole
	if err := yaml.UnmarshalStrict([]byte(documents[1]), &clusterRole); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(rights.ClusterRole(rights.All()), clusterRole.Rules); d != "" || clusterRole.Name != "team-a-porticod" {
		t.Errorf("ClusterRole %s (-want +got):\n%s", clusterRole.Name, d)
	}
}

// TestDocumentedRolesAreThese: people, and the tests on a real host, use the
// rights of this table and no others.
func TestDocumentedRolesAreThese(t *testing.T) {
	var namespaced []rights.Grant
	for _, g := range rights.All() {
		if !g.Cluster {
			namespaced = append(namespaced, g)
		}
	}
	role := rights.Manifest("porticod", "", namespaced)
	for file, want := range map[string]string{
		"../../../docs/configuration.md":       "```yaml\n" + role + "```\n",
		"../../../test/e2e/testdata/role.yaml": role,
	} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(content, []byte(want)) {
			t.Errorf("%s does not have this Role:\n%s", file, role)
		}
	}
	content, err := os.ReadFile("../../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.MapServices.FromHost = []config.ServiceMapping{{From: "default/nettool-host", To: "default/nettool-host"}}
	_, other, _ := strings.Cut(rights.Manifest("porticod", "portico-my-vcluster", rights.For(c)), "---\n")
	if !bytes.Contains(content, []byte("```yaml\n"+other+"```\n")) {
		t.Errorf("docs/configuration.md does not have this Role:\n%s", other)
	}
	for _, g := range rights.All() {
		if g.Cluster && !bytes.Contains(content, []byte("`"+g.Feature+"`")) && !strings.Contains(g.Feature, " with ") {
			t.Errorf("docs/configuration.md does not name %s, which needs a ClusterRole", g.Feature)
		}
	}
}
