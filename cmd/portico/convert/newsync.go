// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import "slices"

const (
	noPatches = "Rewriting of translated objects by expressions is not built."
	noToHost  = "Objects of this kind stay in the virtual cluster; nothing on the host acts on them."
	// vcluster's keys have no kind, and its patches are in another language.
	toCustom   = "Write an entry of sync.custom for each, with group, kind, direction: toHost and the fields that name other objects; docs/recipes has examples."
	fromCustom = "Write an entry of sync.custom for each, with group, kind, direction: fromHost, and scope: Cluster or a namespaceMapping."
	notShown   = "Objects of this kind are not shown inside."
)

// newSyncRows are the keys of vcluster.yaml under sync.
var newSyncRows = slices.Concat(
	one(
		always("sync.toHost.pods.enabled", "Pods are always the host's."),
		always("sync.toHost.services.enabled", "Services are always the host's."),
		always("sync.toHost.persistentVolumeClaims.enabled", "Volume claims are always the host's."),
		always("sync.toHost.endpoints.enabled", "Endpoints of Services without a selector always reach the host."),
		always("sync.toHost.endpointSlices.enabled", "Endpoints of Services without a selector always reach the host."),
		always("sync.toHost.secrets.enabled", "Secrets that pods name always reach the host."),
		always("sync.toHost.configMaps.enabled", "ConfigMaps that pods name always reach the host."),
		none("sync.toHost.secrets.all", "Only Secrets that pods name reach the host."),
		none("sync.toHost.configMaps.all", "Only ConfigMaps that pods name reach the host."),

		move("sync.toHost.pods.translateImage", "images", object, "Exact matches only."),
		via("sync.toHost.pods.enforceTolerations", "pods.tolerations", list, tolerations, "As Kubernetes writes tolerations. Tenants do not see them."),
		none("sync.toHost.pods.hybridScheduling.enabled", "Pods that name one of hostSchedulers, or host.portico.dev, are always left to the host; see hostSchedulers.", true),
		move("sync.toHost.pods.hybridScheduling.hostSchedulers", "pods.schedulers", list, ""),
		all("sync.toHost.pods.useSecretsForSATokens", "Tokens are always in Secrets, and expire."),
		none("sync.toHost.pods.runtimeClassName", "No class can be forced on pods. Classes of the host can be shown: sync.fromHost.runtimeClasses."),
		none("sync.toHost.pods.priorityClassName", "No class can be forced on pods. Classes of the host can be shown: sync.fromHost.priorityClasses."),
		via("sync.toHost.pods.rewriteHosts.enabled", "pods.hostsImage", boolean, fullNames, "The chart's own image does it. False: an empty image."),
		all("sync.toHost.pods.rewriteHosts.initContainer", "The init container has porticod's image and the pod's own requests."),

		ours("sync.toHost.priorityClasses.enabled", boolean),
		ours("sync.toHost.resourceClaims.enabled", boolean),
		ours("sync.toHost.networkPolicies.enabled", boolean),
		ours("sync.toHost.podDisruptionBudgets.enabled", boolean),
		none("sync.toHost.ingresses", byOperator),
		none("sync.toHost.resourceClaimTemplates", "Templates stay inside; the claims that are made of them reach the host with sync.toHost.resourceClaims.", map[string]any{"enabled": true}),
	),
	each(none, noPatches,
		"sync.toHost.pods.patches", "sync.toHost.services.patches", "sync.toHost.persistentVolumeClaims.patches", "sync.toHost.endpoints.patches",
		"sync.toHost.endpointSlices.patches", "sync.toHost.secrets.patches", "sync.toHost.configMaps.patches", "sync.toHost.priorityClasses.patches",
		"sync.toHost.resourceClaims.patches", "sync.toHost.networkPolicies.patches", "sync.toHost.podDisruptionBudgets.patches"),
	each(none, noToHost,
		"sync.toHost.volumeSnapshots", "sync.toHost.volumeSnapshotContents"),
	one(
		none("sync.toHost.serviceAccounts", "All pods run as one ServiceAccount of the host, without rights. Tokens of virtual accounts are the virtual cluster's."),
		move("sync.toHost.storageClasses.enabled", "sync.toHost.storageClasses.enabled", boolean, pushedStorageClasses),
		none("sync.toHost.persistentVolumes", volumesByOperator),
		none("sync.toHost.namespaces", "A virtual cluster has one namespace of the host, and needs no right to make others."),
		none("sync.toHost.customResources", toCustom),
		none("sync.fromHost.customResources", fromCustom),

		always("sync.fromHost.events.enabled", "Events of the host about a cluster's pods are always shown."),
		move("sync.fromHost.nodes.enabled", "sync.nodes.enabled", boolean, "Without it nodes are made up."),
		none("sync.fromHost.nodes.syncBackChanges", "No tenant can change a node of the host."),
	),
	when("sync.fromHost.nodes.enabled",
		move("sync.fromHost.nodes.clearImageStatus", "sync.nodes.clearImageStatus", boolean, ""),
		via("sync.fromHost.nodes.selector.all", "sync.nodes.syncAllNodes", boolean, allNodes, "Where labels are set as well, they choose."),
		via("sync.fromHost.nodes.selector.labels", "sync.nodes.nodeSelector", object, nodeLabels, "Also keeps every pod on these nodes."),
	),
	one(
		ours("sync.fromHost.priorityClasses.enabled", boolean),
		ours("sync.fromHost.runtimeClasses.enabled", boolean),
		ours("sync.fromHost.deviceClasses.enabled", boolean),
	),
	when("sync.fromHost.priorityClasses.enabled", ours("sync.fromHost.priorityClasses.selector", object)),
	when("sync.fromHost.runtimeClasses.enabled", ours("sync.fromHost.runtimeClasses.selector", object)),
	when("sync.fromHost.deviceClasses.enabled", ours("sync.fromHost.deviceClasses.selector", object)),
	each(none, noPatches,
		"sync.fromHost.events.patches", "sync.fromHost.nodes.patches", "sync.fromHost.priorityClasses.patches",
		"sync.fromHost.runtimeClasses.patches", "sync.fromHost.deviceClasses.patches"),
	one(
		ours("sync.fromHost.configMaps.enabled", boolean),
		ours("sync.fromHost.secrets.enabled", boolean),
	),
	when("sync.fromHost.configMaps.enabled", ours("sync.fromHost.configMaps.mappings.byName", object)),
	when("sync.fromHost.secrets.enabled", ours("sync.fromHost.secrets.mappings.byName", object)),
	each(none, noPatches, "sync.fromHost.configMaps.patches", "sync.fromHost.secrets.patches"),
	one(
		via("sync.fromHost.storageClasses.enabled", "sync.fromHost.storageClasses.enabled", anything, automaticSwitch, "The value auto: shown if the host lets porticod see them."),
		ours("sync.fromHost.storageClasses.selector", object),
		none("sync.fromHost.storageClasses.patches", noPatches),
		ours("sync.fromHost.ingressClasses.enabled", boolean),
		ours("sync.fromHost.ingressClasses.selector", object),
		none("sync.fromHost.ingressClasses.patches", noPatches),
		none("sync.fromHost.volumeSnapshotClasses", notShown),
		none("sync.fromHost.csiDrivers", notShown+" The host's scheduler knows them.", automatic),
		none("sync.fromHost.csiNodes", notShown+" The host's scheduler knows them.", automatic),
		none("sync.fromHost.csiStorageCapacities", notShown+" The host's scheduler knows them.", automatic),
	),
)

// byOperator is said of Ingresses: a switch alone would give tenants every host
// name of the host.
const byOperator = "Say what Ingresses may do: sync.toHost.ingresses with enabled, and with the classes of the host and the host names that are allowed."

// automatic is a switch that vcluster turns on with a scheduler inside.
var automatic = map[string]any{"enabled": "auto"}
