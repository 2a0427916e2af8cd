// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import "slices"

// oldRows are the keys of the charts before 0.20 (k3s, k0s, k8s, eks) that are
// neither under sync nor of the workload.
var oldRows = slices.Concat(
	one(
		via("mapServices.fromHost", "mapServices.fromHost", list, servicesFromHost, "Each by NAMESPACE/NAME on both sides."),
		via("mapServices.fromVirtual", "mapServices.fromVirtual", list, servicesFromVirtual, "Into the cluster's own host namespace."),
		none("fallbackHostDns", "Names of the host's Services resolve inside only if clusterDomain is not the host's; or map single ones with mapServices."),
		via("proxy.metricsServer.nodes.enabled", "integrations.metricsServer.enabled", boolean, either, "Metrics of nodes and pods go together."),
		via("proxy.metricsServer.pods.enabled", "integrations.metricsServer.enabled", boolean, either, "Metrics of nodes and pods go together."),
		move("coredns.enabled", "coredns.enabled", boolean, ""),
		all("coredns.integrated", "The embedded DNS is the default, and costs nothing."),
		via("coredns.replicas", "coredns.replicas", number, dnsReplicas, "More than one: coredns.mode becomes deployment. The embedded DNS has as many as there are porticods."),
		via("coredns.image", "coredns.image", text, dnsImage, "coredns.mode becomes deployment."),
		none("coredns.config", "The Corefile cannot be replaced. Resolvers for other names: coredns.upstream."),
		none("coredns.fallback", "Resolvers for other names: coredns.upstream."),
		none("coredns.plugin", "The DNS has no rules of its own. Map Services with mapServices, or use an ExternalName inside."),
		none("coredns.service.type", "kube-dns is a ClusterIP Service.", "ClusterIP"),
		none("coredns.resources", noDNSPods, dnsResources, oldDNSResources),
	),
	each(none, noDNSPods,
		"coredns.manifests", "coredns.nodeSelector", "coredns.podAnnotations", "coredns.podLabels",
		"coredns.service.externalIPs", "coredns.service.externalTrafficPolicy", "coredns.service.annotations"),
	oldPolicyRows,
	one(
		none("rbac.role.create", "porticod always has a Role.", true),
		none("rbac.role.extended", noRules),
		none("rbac.role.extraRules", noRules),
		none("rbac.role.excludedApiResources", noRules),
		none("rbac.clusterRole.create", "A ClusterRole is there when a feature needs one, with the rules of that feature.", true),
		none("rbac.clusterRole.extraRules", noRules),
		none("openshift.enable", "Rights on OpenShift's endpoints/restricted are not in the chart."),
		none("multiNamespaceMode", "A virtual cluster has one namespace of the host, and needs no right to make others."),
		none("init.manifests", noDeploy, "---", "---\n"),
		none("init.manifestsTemplate", noDeploy),
		none("init.helm", noDeploy),
		none("plugin", "Plugins of vcluster run in its syncer, which Portico does not have."),
		none("admission", "Webhooks of the operator that no tenant can remove are not built."),
		none("centralAdmission", "Webhooks of the operator that no tenant can remove are not built."),
		none("hostpathMapper", "A hostPath is a path of the node; whether pods may have one is for the Pod Security level of the host namespace."),
		none("noopSyncer", "Without its host a cluster of Portico has no pods."),
		none("headless", "The chart is there for porticod."),
		none("serviceCIDR", "The host allocates all addresses."),
		none("defaultImageRegistry", "There are few images: write controlPlane.image.repository, and coredns.image for the mode deployment."),
		none("globalAnnotations", "Annotations of the workload and its pods: controlPlane.annotations."),
		all("telemetry", "Portico sends nothing to anybody."),
		all("pro", noPlatform),
		none("proLicenseSecret", noPlatform),
		all("global", "Helm's own, for charts that include others."),
	),
)

// oldDNSResources are those of the old charts.
var oldDNSResources = map[string]any{
	"limits":   map[string]any{"cpu": "1000m", "memory": "170Mi"},
	"requests": map[string]any{"cpu": "3m", "memory": "16Mi"},
}
