// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rights_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/cmd/porticod/rights"
)

func TestExcess(t *testing.T) {
	plain, withNodes, withoutClasses := config.Default(), config.Default(), config.Default()
	withoutClasses.Sync.FromHost.StorageClasses.Enabled = new(bool)
	withNodes.Sync.Nodes.Enabled = true
	has := func(group, resource string, verbs ...string) authorizationv1.ResourceRule {
		return authorizationv1.ResourceRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
	}
	exact := []authorizationv1.ResourceRule{
		has("authorization.k8s.io", "selfsubjectaccessreviews", "create"), has("authorization.k8s.io", "selfsubjectrulesreviews", "create"),
		has("authentication.k8s.io", "selfsubjectreviews", "create"),
		has("certificates.k8s.io", "clustertrustbundles", "get", "list", "watch"),
	}
	for _, r := range rights.Role(rights.For(plain)) {
		exact = append(exact, authorizationv1.ResourceRule{APIGroups: r.APIGroups, Resources: r.Resources, Verbs: r.Verbs})
	}
	for name, c := range map[string]struct {
		config *config.Config
		more   []authorizationv1.ResourceRule
		want   []string
	}{
		"the Role":                  {plain, nil, nil},
		"part of the Role":          {plain, []authorizationv1.ResourceRule{has("", "pods", "get", "list")}, nil},
		"another verb":              {plain, []authorizationv1.ResourceRule{has("", "events", "get", "delete")}, []string{"delete events"}},
		"another resource":          {plain, []authorizationv1.ResourceRule{has("rbac.authorization.k8s.io", "roles", "*"), has("rbac.authorization.k8s.io", "roles", "*")}, []string{"* roles.rbac.authorization.k8s.io"}},
		"another group":             {plain, []authorizationv1.ResourceRule{has("example.com", "pods", "get")}, []string{"get pods.example.com"}},
		"an administrator":          {plain, []authorizationv1.ResourceRule{has("*", "*", "*")}, []string{"* *.*"}},
		"nodes without need":        {plain, []authorizationv1.ResourceRule{has("", "nodes", "get", "list", "watch")}, []string{"get,list,watch nodes"}},
		"nodes as needed":           {withNodes, []authorizationv1.ResourceRule{has("", "nodes", "get", "list", "watch")}, nil},
		"classes, which are of use": {plain, []authorizationv1.ResourceRule{has("storage.k8s.io", "storageclasses", "get", "list", "watch")}, nil},
		"classes, which are not":    {withoutClasses, []authorizationv1.ResourceRule{has("storage.k8s.io", "storageclasses", "list")}, []string{"list storageclasses.storage.k8s.io"}},
	} {
		if d := cmp.Diff(c.want, rights.Excess(slices.Concat(rights.For(c.config), rights.Optional(c.config)), append(exact[:len(exact):len(exact)], c.more...))); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}
