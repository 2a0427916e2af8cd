// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rights

import (
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"

	"portico.dev/portico/cmd/porticod/config"
)

// ForRemoval returns the grants that porticod uninstall needs for a cluster
// with a configuration: a subset of porticod's own, and a look at the workload
// that runs it.
func ForRemoval(c *config.Config) []Grant {
	return slices.DeleteFunc(slices.Clone(removal), func(g Grant) bool { return g.needed != nil && !g.needed(c) })
}

var removal = []Grant{
	{
		Feature: "removal",
		Why:     "Objects of the cluster, which are removed.",
		Rules: []rbacv1.PolicyRule{
			rule("", []string{"pods", "services", "persistentvolumeclaims", "secrets", "configmaps"}, "get", "list", "patch", "delete"),
			rule("discovery.k8s.io", []string{"endpointslices"}, "get", "list", "patch", "delete"),
		},
	},
	{
		Feature: "removal in use",
		Why:     "A control plane that is still there would make them again.",
		Rules:   []rbacv1.PolicyRule{rule("apps", []string{"statefulsets", "deployments"}, "get")},
	},
	{
		Feature: "sync.toHost.resourceClaims",
		Why:     "Claims of devices.",
		Rules:   []rbacv1.PolicyRule{rule("resource.k8s.io", []string{"resourceclaims"}, "get", "list", "patch", "delete")},
		needed:  func(c *config.Config) bool { return c.Sync.ToHost.ResourceClaims.Enabled },
	},
	{
		Feature: "sync.toHost.priorityClasses",
		Why:     "Copies of the tenant's priority classes.",
		Cluster: true,
		Rules:   []rbacv1.PolicyRule{rule("scheduling.k8s.io", []string{"priorityclasses"}, "get", "list", "patch", "delete")},
		needed:  func(c *config.Config) bool { return c.Sync.ToHost.PriorityClasses.Enabled },
	},
	{
		Feature: "sync.toHost.storageClasses",
		Why:     "Copies of the tenant's storage classes.",
		Cluster: true,
		Rules:   []rbacv1.PolicyRule{rule("storage.k8s.io", []string{"storageclasses"}, "get", "list", "patch", "delete")},
		needed:  func(c *config.Config) bool { return c.Sync.ToHost.StorageClasses.Enabled },
	},
	{
		Feature: "sync.toHost.persistentVolumes",
		Why:     "Copies of the tenant's volumes.",
		Cluster: true,
		Rules:   []rbacv1.PolicyRule{rule("", []string{"persistentvolumes"}, "get", "list", "patch", "delete")},
		needed:  func(c *config.Config) bool { return c.Sync.ToHost.PersistentVolumes.Enabled },
	},
}
