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
	// ClusterRoleBinding. All other rules belong into a Role.
	Cluster bool
	// Namespace is where that Role is, if it is not the cluster's host namespace.
	Namespace string
	Rules     []rbacv1.PolicyRule

	// needed says whether a configuration needs it. Nil means that each does.
	needed func(*config.Config) bool
	// used says whether a configuration that does not need it has a use for it all
	// the same. Nil means that none has.
	used func(*config.Config) bool
	// each stands in for Namespace and Rules, which the configuration names: it
	// returns one grant for each namespace.
	each func(*config.Config) []Grant
}

// For returns the grants that a configuration needs, in the order of the table.
func For(c *config.Config) []Grant {
	var all []Grant
	for _, g := range table {
		switch {
		case g.needed != nil && !g.needed(c):
		case g.each == nil:
			all = append(all, g)
		default:
			for _, of := range g.each(c) {
				g.Namespace, g.Rules, g.each = of.Namespace, of.Rules, nil
				all = append(all, g)
			}
		}
	}
	return all
}

// Optional returns the grants that a configuration does not need, and makes use of
// where the host gives them.
func Optional(c *config.Config) []Grant {
	return slices.DeleteFunc(slices.Clone(table), func(g Grant) bool {
		return g.used == nil || !g.used(c) || g.needed(c)
	})
}

// All returns every grant that some configuration needs, but for those in
// namespaces that it names.
func All() []Grant {
	return slices.DeleteFunc(slices.Clone(table), func(g Grant) bool { return g.each != nil })
}

// Role returns the rules of those grants that hold in the cluster's host
// namespace.
func Role(grants []Grant) []rbacv1.PolicyRule { return RoleIn(grants, "") }

// RoleIn returns the rules of those grants that hold in another host namespace.
func RoleIn(grants []Grant, namespace string) []rbacv1.PolicyRule {
	return rules(grants, func(g *Grant) bool { return !g.Cluster && g.Namespace == namespace })
}

// Namespaces returns the other host namespaces in which grants hold, sorted.
func Namespaces(grants []Grant) []string {
	var all []string
	for i := range grants {
		if grants[i].Namespace != "" {
			all = append(all, grants[i].Namespace)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// ClusterRole returns the rules of those grants that hold on the whole host.
func ClusterRole(grants []Grant) []rbacv1.PolicyRule {
	return rules(grants, func(g *Grant) bool { return g.Cluster })
}

func rules(grants []Grant, in func(*Grant) bool) []rbacv1.PolicyRule {
	var all []rbacv1.PolicyRule
	for i := range grants {
		if in(&grants[i]) {
			all = append(all, grants[i].Rules...)
		}
	}
	return all
}
