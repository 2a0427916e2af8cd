// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rights

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"

	"portico.dev/portico/cmd/porticod/config"
)

// Grant is the rights that one feature needs on the host.
type Grant struct {
	// Feature is the configuration key that asks for it, or a few words where
	// every cluster does.
	Feature string
	// Why stands above the rules in a manifest.
	Why string
	// Cluster says that the rules belong into a ClusterRole that is bound with a
	// ClusterRoleBinding. All other rules belong into a Role in the host
	// namespace.
	Cluster bool
	Rules   []rbacv1.PolicyRule

	// needed says whether a configuration needs it. Nil means that each does.
	needed func(*config.Config) bool
}

// Of returns the grants that a configuration needs, in the order of the table.
func Of(c *config.Config) []Grant {
	return slices.DeleteFunc(slices.Clone(table), func(g Grant) bool { return g.needed != nil && !g.needed(c) })
}

// All returns every grant that some configuration needs.
func All() []Grant { return slices.Clone(table) }

// Role returns the rules of those grants that hold in the host namespace.
func Role(grants []Grant) []rbacv1.PolicyRule { return rules(grants, false) }

// ClusterRole returns the rules of those grants that hold on the whole host.
func ClusterRole(grants []Grant) []rbacv1.PolicyRule { return rules(grants, true) }

func rules(grants []Grant, cluster bool) []rbacv1.PolicyRule {
	var all []rbacv1.PolicyRule
	for _, g := range grants {
		if g.Cluster == cluster {
			all = append(all, g.Rules...)
		}
	}
	return all
}
