// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"slices"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/cmd/porticod/config"
)

// Rights in all namespaces are named first, and the right to everything is
// named alone.
func TestExcessOfACredential(t *testing.T) {
	for name, c := range map[string]struct {
		everywhere []string // VERB RESOURCE
		inside     []authorizationv1.ResourceRule
		want       []string
	}{
		"enough":           {nil, nil, nil},
		"an administrator": {[]string{"* *", "list secrets"}, nil, []string{"* * in all namespaces"}},
		"all Secrets": {
			[]string{"list secrets"}, []authorizationv1.ResourceRule{{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get"}}},
			[]string{"list secrets in all namespaces", "get deployments.apps"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset()
			client.PrependReactor("create", "selfsubjectaccessreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
				r := a.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview)
				if at := r.Spec.ResourceAttributes; at.Namespace == "" {
					r.Status.Allowed = slices.Contains(c.everywhere, at.Verb+" "+at.Resource)
				}
				return true, r, nil
			})
			client.PrependReactor("create", "selfsubjectrulesreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
				r := a.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectRulesReview)
				if r.Spec.Namespace == "ns" {
					r.Status.ResourceRules = c.inside
				}
				return true, r, nil
			})
			cfg := config.Default()
			cfg.Host.Namespace = "ns"
			vc := &virtualCluster{config: cfg, hostClient: client}
			got, err := vc.excess(t.Context())
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
}
