// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import "slices"

// byChart is said of keys of portico.yaml that are no values of the chart.
const byChart = "The chart sets it."

// porticoRows are the values of Portico's chart: the keys of portico.yaml, and
// controlPlane.
var porticoRows = slices.Concat(
	owns(boolean,
		"coredns.enabled", "store.insecure", "metadata.hideNodeAnnotations",
		"sync.nodes.enabled", "sync.nodes.syncAllNodes", "sync.nodes.clearImageStatus", "sync.nodes.proxy", "sync.nodes.enableScheduler",
		"sync.fromHost.priorityClasses.enabled", "sync.fromHost.runtimeClasses.enabled", "sync.fromHost.deviceClasses.enabled",
		"sync.fromHost.storageClasses.enabled", "sync.fromHost.persistentVolumes.enabled", "sync.fromHost.ingressClasses.enabled", "sync.fromHost.configMaps.enabled", "sync.fromHost.secrets.enabled", "sync.toHost.priorityClasses.enabled", "sync.toHost.storageClasses.enabled", "sync.toHost.persistentVolumes.enabled", "sync.toHost.resourceClaims.enabled", "sync.toHost.networkPolicies.enabled", "sync.toHost.podDisruptionBudgets.enabled", "sync.toHost.ingresses.enabled", "integrations.metricsServer.enabled",
		"isolation.enabled", "isolation.resourceQuota.enabled", "isolation.limitRange.enabled", "isolation.networkPolicy.enabled",
		"isolation.networkPolicy.outgoingConnections.dns", "sleep.podsKeepAwake"),
	owns(number,
		"host.qps", "host.burst", "host.maxStreams", "coredns.queriesPerSecond", "coredns.connections", "coredns.replicas",
		"sync.toHost.priorityClasses.maxValue", "audit.log.maxAge", "audit.log.maxBackups", "audit.log.maxSize", "tracing.samplingRatePerMillion", "logLevel"),
	owns(text,
		"clusterDomain", "coredns.mode", "coredns.listen", "coredns.image", "store.durability", "store.endpoint", "store.prefix",
		"store.tls.caFile", "store.tls.certFile", "store.tls.keyFile", "store.tls.serverName", "store.usernameFile", "store.passwordFile",
		"audit.policyFile", "audit.log.path", "audit.webhook.configFile", "tracing.endpoint", "tracing.protocol", "tracing.tls.caFile", "tracing.tls.certFile", "tracing.tls.keyFile",
		"reads", "pods.hostsImage", "sync.nodes.nodeSelector", "sleep.afterInactivity", "sleep.schedule", "sleep.timezone", "sleep.wakeup.schedule", "sleep.scope",
		"isolation.podSecurityStandard", "isolation.podSecurityVersion", "isolation.networkPolicy.outgoingConnections.ipBlock.cidr"),
	owns(list,
		"certSANs", "coredns.upstream", "coredns.clients", "pods.tolerations", "pods.allowedTolerations", "pods.schedulers", "pods.volumeDrivers",
		"metadata.movedLabels", "metadata.hiddenAnnotations", "egress.allow", "proxyProtocol.from", "tracing.trusted", "sleep.ignoredAgents",
		"isolation.podSecurityExemptions.namespaces", "isolation.podSecurityExemptions.usernames", "isolation.podSecurityExemptions.runtimeClasses",
		"isolation.networkPolicy.outgoingConnections.ipBlock.except", "isolation.networkPolicy.workloads.egress", "isolation.networkPolicy.controlPlane.ports", "isolation.networkPolicy.controlPlane.egress",
		"sync.toHost.ingresses.classes", "sync.toHost.ingresses.allowedHosts", "sync.toHost.ingresses.annotations",
		"sync.toHost.persistentVolumes.drivers", "sync.toHost.storageClasses.provisioners", "sync.toHost.storageClasses.parameters",
		"mapServices.fromHost", "mapServices.fromVirtual", "sync.custom", "hooks", "patches"),
	allowedMetadata("pods", "services", "secrets", "configMaps", "persistentVolumeClaims", "resourceClaims", "endpointSlices"),
	owns(object,
		"pods.nodeSelector", "images", "sleep.exclude.selector", "isolation.resourceQuota.quota",
		"isolation.limitRange.default", "isolation.limitRange.defaultRequest", "isolation.limitRange.min", "isolation.limitRange.max",
		"sync.fromHost.priorityClasses.selector", "sync.fromHost.runtimeClasses.selector", "sync.fromHost.deviceClasses.selector",
		"sync.fromHost.storageClasses.selector", "sync.fromHost.ingressClasses.selector",
		"sync.fromHost.configMaps.mappings.byName", "sync.fromHost.secrets.mappings.byName"),
	// A quantity, which may look like a number.
	owns(anything, "store.maxSize"),
	one(
		move("replicas", "controlPlane.replicas", number, ""),
		none("name", "The name of the release is the name of the cluster."),
		none("host.namespace", "The namespace of the release is the namespace of the cluster."),
	),
	each(none, byChart,
		"host.kubeconfig", "host.advertiseAddress", "host.serviceName", "host.workloadServiceAccount", "dataDir", "listen", "metrics.listen", "kubeconfigPath"),
	owns(text, "controlPlane.storeSecret", "controlPlane.auditSecret", "controlPlane.hooksSecret", "controlPlane.priorityClassName"),
	owns(number, "controlPlane.replicas"),
	owns(boolean, "controlPlane.paused"),
	owns(list, "controlPlane.tolerations"),
	// The keys below are for the chart's schema to check.
	owns(object,
		"controlPlane.image", "controlPlane.resources", "controlPlane.persistence", "controlPlane.etcd", "controlPlane.podDisruptionBudget",
		"controlPlane.networkPolicy", "controlPlane.metrics", "controlPlane.serviceMonitor", "controlPlane.prometheusRule",
		"controlPlane.dashboard", "controlPlane.spread", "controlPlane.nodeSelector", "controlPlane.affinity",
		"controlPlane.annotations", "controlPlane.labels"),
	owns(anything,
		"controlPlane.service.type", "controlPlane.service.nodePort", "controlPlane.service.annotations", "controlPlane.service.loadBalancerIP",
		"controlPlane.service.loadBalancerSourceRanges", "controlPlane.service.externalTrafficPolicy",
		"controlPlane.ingress.enabled", "controlPlane.ingress.className", "controlPlane.ingress.host", "controlPlane.ingress.annotations"),
)

// owns makes rows of keys that stay as they are.
func owns(k kind, paths ...string) []row {
	var rows []row
	for _, p := range paths {
		rows = append(rows, ours(p, k))
	}
	return rows
}

func allowedMetadata(kinds ...string) []row {
	var rows []row
	for _, k := range kinds {
		rows = append(rows, owns(list, "metadata.allowed."+k+".labels", "metadata.allowed."+k+".annotations")...)
	}
	return rows
}
