// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import "slices"

// oldSyncRows are the keys of the charts before 0.20 under sync.
var oldSyncRows = slices.Concat(
	one(
		always("sync.pods.enabled", "Pods are always the host's."),
		all("sync.pods.ephemeralContainers", "Ephemeral containers always work."),
		all("sync.pods.status", "The status of a pod is always the host's."),
		always("sync.services.enabled", "Services are always the host's."),
		always("sync.persistentvolumeclaims.enabled", "Volume claims are always the host's."),
		always("sync.endpoints.enabled", "Endpoints of Services without a selector always reach the host."),
		always("sync.secrets.enabled", "Secrets that pods name always reach the host."),
		none("sync.secrets.all", "Only Secrets that pods name reach the host."),
		always("sync.configmaps.enabled", "ConfigMaps that pods name always reach the host."),
		none("sync.configmaps.all", "Only ConfigMaps that pods name reach the host."),
		always("sync.events.enabled", "Events of the host about a cluster's pods are always shown."),
		none("sync.fake-nodes.enabled", "Nodes are made up unless sync.nodes shows real ones.", true),
		none("sync.fake-persistentvolumes.enabled", "The volumes of bound claims are shown, as the host has them.", true),

		ours("sync.nodes.enabled", boolean),
		via("sync.nodes.syncAllNodes", "sync.nodes.syncAllNodes", boolean, either, ""),
		ours("sync.nodes.nodeSelector", text),
		via("sync.nodes.enableScheduler", "sync.nodes.enableScheduler", boolean, scheduler, schedulerInside),
		none("sync.nodes.syncNodeChanges", "No tenant can change a node of the host."),
		all("sync.nodes.fakeKubeletIPs", "Made-up nodes have no kubelet; with real ones see sync.nodes.proxy."),
		none("sync.nodes.reservedResources", "Real nodes are shown with the resources that the host says they have."),

		move("sync.priorityclasses.enabled", "sync.toHost.priorityClasses.enabled", boolean, ""),
		move("sync.networkpolicies.enabled", "sync.toHost.networkPolicies.enabled", boolean, ""),
		move("sync.poddisruptionbudgets.enabled", "sync.toHost.podDisruptionBudgets.enabled", boolean, ""),
	),
	each(none, noToHost, "sync.volumesnapshots"),
	one(
		none("sync.ingresses", byOperator),
		move("sync.ingressclasses.enabled", "sync.fromHost.ingressClasses.enabled", boolean, ""),
		none("sync.persistentvolumes", volumesByOperator),
		move("sync.storageclasses.enabled", "sync.toHost.storageClasses.enabled", boolean, pushedStorageClasses),
		move("sync.hoststorageclasses.enabled", "sync.fromHost.storageClasses.enabled", boolean, ""),
		move("sync.legacy-storageclasses.enabled", "sync.fromHost.storageClasses.enabled", boolean, ""),
		none("sync.serviceaccounts", "All pods run as one ServiceAccount of the host, without rights. Tokens of virtual accounts are the virtual cluster's."),
		none("sync.csistoragecapacities", notShown+" The host's scheduler knows them."),
		none("sync.csinodes", notShown+" The host's scheduler knows them."),
		none("sync.csidrivers", notShown+" The host's scheduler knows them."),
		none("sync.generic.config", "Custom resources stay in the virtual cluster.", "---", "---\n"),
		none("sync.generic.role", "Custom resources stay in the virtual cluster."),
		none("sync.generic.clusterRole", "Custom resources stay in the virtual cluster."),
	),
)
