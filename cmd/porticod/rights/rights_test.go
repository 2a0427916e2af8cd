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
	grants := rights.Of(config.Default())
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
		"pushed priority classes": {func(c *config.Config) { c.Sync.ToHost.PriorityClasses.Enabled = true }, rbacv1.PolicyRule{APIGroups: []string{"scheduling.k8s.io"}, Resources: []string{"priorityclasses"}, Verbs: []string{"get", "list", "watch", "create", "update", "delete"}}},
		"device classes":          {func(c *config.Config) { c.Sync.FromHost.DeviceClasses.Enabled = true }, rbacv1.PolicyRule{APIGroups: []string{"resource.k8s.io"}, Resources: []string{"deviceclasses"}, Verbs: []string{"get", "list", "watch"}}},
	} {
		t.Run(name, func(t *testing.T) {
			c := config.Default()
			tc.change(c)
			for _, r := range rights.ClusterRole(rights.Of(c)) {
				if cmp.Equal(r, tc.want) {
					return
				}
			}
			t.Errorf("got %v, want %v among them", rights.ClusterRole(rights.Of(c)), tc.want)
		})
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
	for _, g := range rights.All() {
		if g.Cluster && !bytes.Contains(content, []byte("`"+g.Feature+"`")) && !strings.Contains(g.Feature, " with ") {
			t.Errorf("docs/configuration.md does not name %s, which needs a ClusterRole", g.Feature)
		}
	}
}
