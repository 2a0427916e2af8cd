// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rights

import (
	"fmt"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// everybodys are rights that RBAC gives to all that are authenticated, or to all
// ServiceAccounts (system:basic-user and system:cluster-trust-bundle-discovery
// in plugin/pkg/auth/authorizer/rbac/bootstrappolicy).
var everybodys = []rbacv1.PolicyRule{
	rule("authorization.k8s.io", []string{"selfsubjectaccessreviews", "selfsubjectrulesreviews"}, "create"),
	rule("authentication.k8s.io", []string{"selfsubjectreviews"}, "create"),
	rule("certificates.k8s.io", []string{"clustertrustbundles"}, "get", "list", "watch"),
}

// Excess returns the rights of a credential in the host namespace beyond those
// that the grants need, one text for each further rule, such as "delete
// roles.rbac.authorization.k8s.io".
func Excess(grants []Grant, has []authorizationv1.ResourceRule) []string {
	needed := slices.Concat(everybodys, Role(grants), ClusterRole(grants))
	var all []string
	for _, h := range has {
		for _, group := range h.APIGroups {
			for _, resource := range h.Resources {
				verbs := slices.DeleteFunc(slices.Clone(h.Verbs), func(verb string) bool { return covered(needed, group, resource, verb) })
				if len(verbs) > 0 {
					all = append(all, describe(verbs, group, resource))
				}
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func covered(needed []rbacv1.PolicyRule, group, resource, verb string) bool {
	has := func(list []string, s string) bool {
		return slices.Contains(list, s) || slices.Contains(list, rbacv1.ResourceAll)
	}
	return slices.ContainsFunc(needed, func(n rbacv1.PolicyRule) bool {
		return has(n.APIGroups, group) && has(n.Resources, resource) && has(n.Verbs, verb)
	})
}

func describe(verbs []string, group, resource string) string {
	if group != "" {
		resource = fmt.Sprintf("%s.%s", resource, group)
	}
	return strings.Join(verbs, ",") + " " + resource
}
