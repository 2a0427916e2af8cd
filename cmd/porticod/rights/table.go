// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rights

import (
	"maps"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/utils/ptr"

	"portico.dev/portico/cmd/porticod/config"
)

// table has the Role first, then Roles in other namespaces, then one grant for
// each cluster-wide feature.
var table = []Grant{
	{
		Feature: "every cluster",
		Why:     "Objects that are served from the host, and objects that pods refer to.",
		Rules: []rbacv1.PolicyRule{
			rule("", []string{"pods", "services", "persistentvolumeclaims", "secrets", "configmaps", "endpoints"}, "*"),
			rule("discovery.k8s.io", []string{"endpointslices"}, "*"),
			rule("", []string{"pods/status", "pods/ephemeralcontainers", "pods/resize", "services/status"}, "patch", "update"),
		},
	},
	{
		Feature: "streams",
		Why:     "Streams go to the host's own subresources. create is SPDY, get is WebSocket.",
		Rules: []rbacv1.PolicyRule{
			rule("", []string{"pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "services/proxy"}, "create", "get"),
			rule("", []string{"pods/log"}, "get"),
		},
	},
	{
		Feature: "events",
		Why:     "Events of the host about these objects, and Events that say how the cluster is.",
		Rules:   []rbacv1.PolicyRule{rule("", []string{"events"}, "get", "list", "watch", "create", "patch")},
	},
	{
		Feature: "workload ServiceAccount",
		Why:     "The account without rights that pods run as.",
		Rules:   []rbacv1.PolicyRule{rule("", []string{"serviceaccounts"}, "get", "create")},
	},
	{
		Feature: "integrations.metricsServer",
		Why:     "kubectl top and the HorizontalPodAutoscaler, if the host measures.",
		Rules:   []rbacv1.PolicyRule{rule("metrics.k8s.io", []string{"pods"}, "get", "list")},
		needed:  func(c *config.Config) bool { return ptr.Deref(c.Integrations.MetricsServer.Enabled, true) },
	},
	{
		Feature: "sync.toHost.resourceClaims",
		Why:     "Devices, with sync.toHost.resourceClaims.",
		Rules:   []rbacv1.PolicyRule{rule("resource.k8s.io", []string{"resourceclaims"}, "get", "list", "watch", "create", "patch", "delete")},
		needed:  func(c *config.Config) bool { return c.Sync.ToHost.ResourceClaims.Enabled },
	},
	{
		Feature: "sync.toHost.networkPolicies",
		Why:     "Network policies, with sync.toHost.networkPolicies.",
		Rules:   []rbacv1.PolicyRule{rule("networking.k8s.io", []string{"networkpolicies"}, "get", "list", "watch", "create", "patch", "delete")},
		needed:  func(c *config.Config) bool { return c.Sync.ToHost.NetworkPolicies.Enabled },
	},
	{
		Feature: "sync.toHost.podDisruptionBudgets",
		Why:     "Disruption budgets, with sync.toHost.podDisruptionBudgets.",
		Rules:   []rbacv1.PolicyRule{rule("policy", []string{"poddisruptionbudgets"}, "get", "list", "watch", "create", "patch", "delete")},
		needed:  func(c *config.Config) bool { return c.Sync.ToHost.PodDisruptionBudgets.Enabled },
	},
	{
		Feature: "sync.toHost.ingresses",
		Why:     "Ingresses, with sync.toHost.ingresses.",
		Rules:   []rbacv1.PolicyRule{rule("networking.k8s.io", []string{"ingresses"}, "get", "list", "watch", "create", "patch", "delete")},
		needed:  func(c *config.Config) bool { return c.Sync.ToHost.Ingresses.Enabled },
	},
	{
		Feature: "sync.custom",
		Why:     "Copies of the tenant's objects of custom kinds.",
		each:    customToHost,
	},
	{
		Feature: "mapServices.fromHost",
		Why:     "The Services that mapServices.fromHost names, and where they lead. RBAC cannot say which EndpointSlices are theirs.",
		each:    mappedServices,
	},
	{
		Feature: "sync.custom",
		Why:     "Objects of custom kinds that are shown inside.",
		each:    customInNamespaces,
	},
	{
		Feature: "sync.fromHost.configMaps",
		Why:     "The ConfigMaps that sync.fromHost.configMaps names.",
		each: func(c *config.Config) []Grant {
			return imported("configmaps", c.Sync.FromHost.ConfigMaps.HostObjects(c.Host.Namespace))
		},
	},
	{
		Feature: "sync.fromHost.secrets",
		Why:     "The Secrets that sync.fromHost.secrets names.",
		each: func(c *config.Config) []Grant {
			return imported("secrets", c.Sync.FromHost.Secrets.HostObjects(c.Host.Namespace))
		},
	},
	{
		Feature: "sync.nodes.enableScheduler",
		Why:     "Pods of a scheduler inside get their nodes.",
		Rules:   []rbacv1.PolicyRule{rule("", []string{"pods/binding"}, "create")},
		needed:  func(c *config.Config) bool { return c.Sync.Nodes.EnableScheduler },
	},
	{
		Feature: "sleep",
		Why:     "The workload that porticod runs in, which it scales to 0 when nobody uses the cluster.",
		needed:  func(c *config.Config) bool { return c.Sleep.Sleeps() },
		each:    ownWorkload,
	},
	{
		Feature: "sync.custom",
		Why:     "The definitions of custom kinds, and objects outside of namespaces that are shown inside.",
		Cluster: true,
		each:    customOfCluster,
	},
	{
		Feature: "sync.nodes",
		Why:     "The host's nodes.",
		Cluster: true,
		Rules:   []rbacv1.PolicyRule{rule("", []string{"nodes"}, "get", "list", "watch")},
		needed:  func(c *config.Config) bool { return c.Sync.Nodes.Real() },
	},
	{
		Feature: "sync.nodes with integrations.metricsServer",
		Why:     "kubectl top node.",
		Cluster: true,
		Rules:   []rbacv1.PolicyRule{rule("metrics.k8s.io", []string{"nodes"}, "get", "list")},
		needed: func(c *config.Config) bool {
			return c.Sync.Nodes.Real() && ptr.Deref(c.Integrations.MetricsServer.Enabled, true)
		},
	},
	{
		Feature: "sync.nodes.enableScheduler",
		Why:     "The room that other pods take on the host's nodes, for a scheduler inside. RBAC cannot leave out the rest of a pod; porticod keeps requests and ports only.",
		Cluster: true,
		Rules:   []rbacv1.PolicyRule{rule("", []string{"pods"}, "get", "list", "watch")},
		needed:  func(c *config.Config) bool { return c.Sync.Nodes.EnableScheduler },
	},
	{
		Feature: "sync.nodes.enableScheduler",
		Why:     "The nodes on which the volumes of bound claims are, for a scheduler inside.",
		Cluster: true,
		Rules:   []rbacv1.PolicyRule{rule("", []string{"persistentvolumes"}, "get")},
		needed:  func(c *config.Config) bool { return c.Sync.Nodes.EnableScheduler },
	},
	{
		Feature: "sync.nodes.proxy",
		Why:     "A part of nodes/proxy. This right is worth every pod of every node: read docs/configuration.md first.",
		Cluster: true,
		Rules:   []rbacv1.PolicyRule{rule("", []string{"nodes/proxy"}, "get")},
		needed:  func(c *config.Config) bool { return c.Sync.Nodes.Proxy },
	},
	{
		Feature: "sync.fromHost.priorityClasses",
		Why:     "The host's priority classes.",
		Cluster: true,
		Rules:   []rbacv1.PolicyRule{rule("scheduling.k8s.io", []string{"priorityclasses"}, "get", "list", "watch")},
		needed:  func(c *config.Config) bool { return c.Sync.FromHost.PriorityClasses.Enabled },
	},
	{
		Feature: "sync.fromHost.runtimeClasses",
		Why:     "The host's runtime classes.",
		Cluster: true,
		Rules:   []rbacv1.PolicyRule{rule("node.k8s.io", []string{"runtimeclasses"}, "get", "list", "watch")},
		needed:  func(c *config.Config) bool { return c.Sync.FromHost.RuntimeClasses.Enabled },
	},
	{
		Feature: "sync.fromHost.deviceClasses",
		Why:     "The host's device classes.",
		Cluster: true,
		Rules:   []rbacv1.PolicyRule{rule("resource.k8s.io", []string{"deviceclasses"}, "get", "list", "watch")},
		needed:  func(c *config.Config) bool { return c.Sync.FromHost.DeviceClasses.Enabled },
	},
	{
		Feature: "sync.fromHost.storageClasses",
		Why:     "The host's storage classes.",
		Cluster: true,
		Rules:   []rbacv1.PolicyRule{rule("storage.k8s.io", []string{"storageclasses"}, "get", "list", "watch")},
		needed: func(c *config.Config) bool {
			// A scheduler inside waits for the class of a claim.
			return c.Sync.FromHost.StorageClasses.Demanded() ||
				c.Sync.Nodes.EnableScheduler && ptr.Deref(c.Sync.FromHost.StorageClasses.Enabled, true)
		},
		used: func(c *config.Config) bool { return ptr.Deref(c.Sync.FromHost.StorageClasses.Enabled, true) },
	},
	{
		Feature: "sync.fromHost.ingressClasses",
		Why:     "The host's ingress classes.",
		Cluster: true,
		Rules:   []rbacv1.PolicyRule{rule("networking.k8s.io", []string{"ingressclasses"}, "get", "list", "watch")},
		needed:  func(c *config.Config) bool { return c.Sync.FromHost.IngressClasses.Enabled },
	},
	{
		Feature: "sync.fromHost.persistentVolumes",
		Why:     "The volumes of bound claims.",
		Cluster: true,
		Rules:   []rbacv1.PolicyRule{rule("", []string{"persistentvolumes"}, "get")},
		needed:  func(c *config.Config) bool { return c.Sync.FromHost.PersistentVolumes.Enabled },
		used:    func(*config.Config) bool { return true },
	},
	{
		Feature: "sync.toHost.priorityClasses",
		Why:     "Copies of the tenant's priority classes. RBAC knows no prefix of a name; porticod writes only those with its own labels.",
		Cluster: true,
		Rules:   []rbacv1.PolicyRule{rule("scheduling.k8s.io", []string{"priorityclasses"}, "get", "list", "watch", "create", "update", "delete")},
		needed:  func(c *config.Config) bool { return c.Sync.ToHost.PriorityClasses.Enabled },
	},
	{
		Feature: "sync.toHost.storageClasses",
		Why:     "Copies of the tenant's storage classes. RBAC knows no prefix of a name; porticod writes only those with its own labels.",
		Cluster: true,
		Rules:   []rbacv1.PolicyRule{rule("storage.k8s.io", []string{"storageclasses"}, "get", "list", "watch", "create", "update", "delete")},
		needed:  func(c *config.Config) bool { return c.Sync.ToHost.StorageClasses.Enabled },
	},
	{
		Feature: "sync.toHost.persistentVolumes",
		Why:     "Copies of the tenant's volumes. RBAC knows no prefix of a name; porticod writes only those with its own labels.",
		Cluster: true,
		Rules:   []rbacv1.PolicyRule{rule("", []string{"persistentvolumes"}, "get", "list", "watch", "create", "update", "delete")},
		needed:  func(c *config.Config) bool { return c.Sync.ToHost.PersistentVolumes.Enabled },
	},
}

// mappedServices are the rights in each host namespace that mapServices.fromHost
// names. In its own the cluster has them.
func mappedServices(c *config.Config) []Grant {
	var all []Grant
	for _, namespace := range c.MapServices.HostNamespaces(c.Host.Namespace) {
		services := rule("", []string{"services"}, "get", "list", "watch")
		services.ResourceNames = c.MapServices.HostServices(namespace)
		all = append(all, Grant{Namespace: namespace, Rules: []rbacv1.PolicyRule{
			services, rule("discovery.k8s.io", []string{"endpointslices"}, "get", "list", "watch"),
		}})
	}
	return all
}

// customToHost are the rights to copies of custom kinds.
func customToHost(c *config.Config) []Grant {
	var rules []rbacv1.PolicyRule
	for i := range c.Sync.Custom {
		if k := &c.Sync.Custom[i]; k.Direction == config.CustomToHost {
			rules = append(rules, rule(k.Group, []string{k.Plural()}, "get", "list", "watch", "create", "patch", "delete"))
		}
	}
	return some(Grant{Rules: rules})
}

// customInNamespaces are the rights in each host namespace of which objects of
// custom kinds are shown.
func customInNamespaces(c *config.Config) []Grant {
	of := map[string][]rbacv1.PolicyRule{}
	for i := range c.Sync.Custom {
		k := &c.Sync.Custom[i]
		for namespace := range k.NamespaceMapping {
			of[namespace] = append(of[namespace], rule(k.Group, []string{k.Plural()}, "get", "list", "watch"))
		}
	}
	var all []Grant
	for _, namespace := range slices.Sorted(maps.Keys(of)) {
		all = append(all, Grant{Namespace: namespace, Rules: of[namespace]})
	}
	return all
}

// imported are the rights to objects of one kind in other host namespaces: to those
// with names, or to all where there are none.
func imported(resource string, byNamespace map[string][]string) []Grant {
	var all []Grant
	for _, namespace := range slices.Sorted(maps.Keys(byNamespace)) {
		objects := rule("", []string{resource}, "get", "list", "watch")
		objects.ResourceNames = byNamespace[namespace]
		all = append(all, Grant{Namespace: namespace, Rules: []rbacv1.PolicyRule{objects}})
	}
	return all
}

// customOfCluster are the rights to definitions of custom kinds, and to objects
// outside of namespaces.
func customOfCluster(c *config.Config) []Grant {
	definitions := rule("apiextensions.k8s.io", []string{"customresourcedefinitions"}, "get", "list", "watch")
	var rules []rbacv1.PolicyRule
	for i := range c.Sync.Custom {
		k := &c.Sync.Custom[i]
		if !k.Builtin() {
			definitions.ResourceNames = append(definitions.ResourceNames, k.Definition())
		}
		if !k.Namespaced() {
			rules = append(rules, rule(k.Group, []string{k.Plural()}, "get", "list", "watch"))
		}
	}
	if len(definitions.ResourceNames) > 0 {
		rules = append([]rbacv1.PolicyRule{definitions}, rules...)
	}
	return some(Grant{Rules: rules})
}

// some is a grant that has rules, or none.
func some(g Grant) []Grant {
	if len(g.Rules) == 0 {
		return nil
	}
	return []Grant{g}
}

// ownWorkload is the right to the one workload of the cluster, which the chart
// makes.
func ownWorkload(c *config.Config) []Grant {
	workload := rule("apps", []string{WorkloadResource(c)}, "get", "patch")
	workload.ResourceNames = []string{c.Name}
	return []Grant{{Rules: []rbacv1.PolicyRule{workload}}}
}

// WorkloadResource is the kind of the workload in the chart: only a shared store
// lets there be two porticods for a moment.
func WorkloadResource(c *config.Config) string {
	if c.Store.Endpoint != "" {
		return "deployments"
	}
	return "statefulsets"
}

func rule(group string, resources []string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}
}
