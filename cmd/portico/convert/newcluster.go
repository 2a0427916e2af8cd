// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import "slices"

const (
	volumesByOperator    = "Volumes of bound claims are shown. For volumes that a tenant makes, set sync.toHost.persistentVolumes.enabled, and drivers to those that they may have."
	pushedStorageClasses = "Classes may have the provisioners of the host's classes that are shown; set sync.toHost.storageClasses.provisioners for others, and parameters for more than a file system. Annotations of classes do not reach the host."
	schedulerInside      = "Also shows all nodes of the host, unless labels choose some: a scheduler needs nodes to choose from."
	schedulerInProcess   = "A scheduler inside is in porticod: sync.nodes.enableScheduler."

	noIntegration  = "No operator of the host is shared with tenants. They can install their own: custom resources and webhooks work inside."
	noPrivateNodes = "A virtual cluster has no nodes of its own: its pods run on the host's."
	noPlatform     = "Portico needs no platform and no license."
	noDeploy       = "Nothing is installed inside at the start: apply it after create."
	noRules        = "Rights follow from the features that are on; give more to the release's ServiceAccount by a Role of your own."
	sleeps         = "The control plane sleeps, and pods go on running; a connection through the gateway wakes it. coredns.mode becomes deployment."
	byCalendar     = "Users who are there at that time keep it awake until they have gone."
	excludes       = "Pods leave the host for a sleep because of this key; without it they go on running, which is Portico's default: sleep.scope."
)

// newClusterRows are the keys of vcluster.yaml that are neither under sync nor
// under controlPlane.
var newClusterRows = slices.Concat(
	one(
		via("networking.replicateServices.fromHost", "mapServices.fromHost", list, servicesFromHost, "Each by NAMESPACE/NAME on both sides."),
		via("networking.replicateServices.toHost", "mapServices.fromVirtual", list, servicesFromVirtual, "Into the cluster's own host namespace."),
		move("networking.advanced.clusterDomain", "clusterDomain", text, ""),
		none("networking.advanced.fallbackHostCluster", "Names of the host's Services resolve inside only if clusterDomain is not the host's; or map single ones with mapServices."),
		all("networking.advanced.proxyKubelets", "Made-up nodes have no kubelet; with real ones see sync.nodes.proxy."),
		none("networking.resolveDNS", "The DNS has no rules of its own. Map Services with mapServices, or use an ExternalName inside."),
		none("networking.serviceCIDR", "The host allocates all addresses."),
		none("networking.podCIDR", "The host allocates all addresses.", "10.244.0.0/16"),

		ours("integrations.metricsServer.enabled", boolean),
		none("integrations.metricsServer.apiService", "Metrics come from the host's own API, served by any program there."),
		always("integrations.metricsServer.nodes", "Metrics of nodes and pods go together."),
		always("integrations.metricsServer.pods", "Metrics of nodes and pods go together."),
	),
	each(none, noIntegration, "integrations.certManager", "integrations.externalSecrets", "integrations.istio", "integrations.kubeVirt", "integrations.netris"),
	policyRows,
	one(
		none("policies.centralAdmission.validatingWebhooks", "Webhooks of the operator that no tenant can remove are not built."),
		none("policies.centralAdmission.mutatingWebhooks", "Webhooks of the operator that no tenant can remove are not built."),

		always("rbac.role.enabled", "porticod always has a Role."),
		none("rbac.role.extraRules", noRules),
		none("rbac.role.overwriteRules", noRules),
		none("rbac.clusterRole.enabled", "A ClusterRole is there when a feature needs one, with the rules of that feature.", "auto", true, "true"),
		none("rbac.clusterRole.extraRules", noRules),
		none("rbac.clusterRole.overwriteRules", noRules),
		none("rbac.enableVolumeSnapshotRules", noToHost, automatic),

		none("exportKubeConfig.context", "The context in the Secret pc-NAME has a fixed name. portico connect --print writes a kubeconfig of its own."),
		via("exportKubeConfig.server", "certSANs", text, serverName, "The name goes into the certificate. Kubeconfigs for it: portico connect --server."),
		none("exportKubeConfig.insecure", "Certificates are always verified: put further names into certSANs."),
		none("exportKubeConfig.serviceAccount", "Kubeconfigs with a token: portico connect --service-account, --cluster-role, --token-expiration."),
		none("exportKubeConfig.secret", "The kubeconfig is in the Secret pc-NAME of the host namespace, and is kept current there."),
		none("exportKubeConfig.additionalSecrets", "The kubeconfig is in the Secret pc-NAME of the host namespace, and is kept current there."),
	),
	each(none, noPrivateNodes, "privateNodes"),
	each(none, "Only for nodes of the cluster's own, which Portico does not have.", "deploy.metallb", "deploy.ingressNginx", "deploy.metricsServer", "deploy.volumeSnapshotController"),
	one(
		all("deploy.cni", noPrivateNodes),
		all("deploy.kubeProxy", noPrivateNodes),
		all("deploy.localPathProvisioner", noPrivateNodes),

		none("plugins", "Plugins of vcluster run in its syncer, which Portico does not have. A plugin that changes objects on their way to the host becomes a webhook: key hooks in docs/configuration.md."),
		none("plugin", "Plugins of vcluster run in its syncer, which Portico does not have. A plugin that changes objects on their way to the host becomes a webhook: key hooks in docs/configuration.md."),
		none("external", noPlatform),
		all("platform", noPlatform),
		all("pro", noPlatform),
		via("sleep.auto.afterInactivity", "sleep.afterInactivity", text, sleepsAfter, sleeps),
		via("sleep.auto.schedule", "sleep.schedule", text, dnsImage, byCalendar),
		move("sleep.auto.timezone", "sleep.timezone", text, ""),
		move("sleep.auto.wakeup.schedule", "sleep.wakeup.schedule", text, ""),
		via("sleep.auto.exclude.selector.labels", "sleep.exclude.selector", object, excluded, excludes),
	),
	when("sleepMode.enabled",
		via("sleepMode.autoSleep.afterInactivity", "sleep.afterInactivity", text, sleepsAfter, sleeps),
		via("sleepMode.autoSleep.schedule", "sleep.schedule", text, dnsImage, byCalendar),
		move("sleepMode.autoWakeup.schedule", "sleep.wakeup.schedule", text, ""),
		move("sleepMode.timeZone", "sleep.timezone", text, ""),
		via("sleepMode.autoSleep.exclude.selector.labels", "sleep.exclude.selector", object, excluded, excludes),
	),
	one(
		all("sleepMode.enabled", "sleep.afterInactivity is the switch."),
		none("deletion", "No cluster is deleted by itself."),
		none("snapshots", "Snapshots are made when asked for: portico snapshot."),
		all("telemetry", "Portico sends nothing to anybody."),
		none("logging.encoding", "porticod's log is text; logLevel says how much.", "console"),
		none("serviceCIDR", "The host allocates all addresses."),
		none("observability", "Metrics: integrations.metricsServer."),
		all("global", "Helm's own, for charts that include others."),

		none("experimental.syncSettings.setOwner", "Host objects always have an owner, so that they end with their cluster.", true),
		none("experimental.syncSettings.targetNamespace", "A cluster lives in the namespace of its release."),
		none("experimental.syncSettings.disableSync", "Without its host a cluster of Portico has no pods."),
		none("experimental.syncSettings.rewriteKubernetesService", "The Service kubernetes always leads to the virtual API."),
		none("experimental.syncSettings.syncLabels", "Labels of tenants follow docs/metadata.md."),
		none("experimental.syncSettings.hostMetricsBindAddress", "Metrics are at /metrics of the API's port."),
		none("experimental.syncSettings.virtualMetricsBindAddress", "Metrics are at /metrics of the API's port."),
		none("experimental.multiNamespaceMode", "A virtual cluster has one namespace of the host, and needs no right to make others."),
		none("experimental.isolatedControlPlane", "porticod may run outside of the host (host.kubeconfig); the chart does not do it."),
		none("experimental.virtualClusterKubeConfig", "porticod is the API server, and finds its own certificates."),
		none("experimental.denyProxyRequests", "Use a ValidatingAdmissionPolicy inside, or RBAC."),
		none("experimental.genericSync", "Custom resources stay in the virtual cluster."),
		none("experimental.proxy", "Custom resources stay in the virtual cluster."),
		all("experimental.docker", "Portico runs on a cluster."),
	),
	each(none, noDeploy, "experimental.deploy"),
)
