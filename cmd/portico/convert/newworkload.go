// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import "slices"

const (
	noProcess  = "porticod's command, environment and probes are the chart's."
	noVolumes  = "The workload's volumes are the chart's."
	noSecurity = "porticod always runs under the Pod Security level restricted."
	noAccounts = "The ServiceAccounts are the chart's: NAME for porticod, NAME-workload for pods."
	noExtras   = "A further container or alias is not in the chart."

	statefulSet = "controlPlane.statefulSet"
	advanced    = "controlPlane.advanced"
)

// newWorkloadRows are the keys of vcluster.yaml under controlPlane.statefulSet
// and controlPlane.advanced.
var newWorkloadRows = slices.Concat(
	one(
		move(statefulSet+".highAvailability.replicas", "controlPlane.replicas", number, "More than one needs a shared store: controlPlane.etcd, or store.endpoint."),
		none(statefulSet+".highAvailability.leaseDuration", "The times of leader election are fixed (docs/configuration.md, Replicas).", 60),
		none(statefulSet+".highAvailability.renewDeadline", "The times of leader election are fixed (docs/configuration.md, Replicas).", 40),
		none(statefulSet+".highAvailability.retryPeriod", "The times of leader election are fixed (docs/configuration.md, Replicas).", 15),

		move(statefulSet+".resources", "controlPlane.resources", object, "Measured for another program: compare docs/configuration.md, Bounds."),
		move(statefulSet+".scheduling.nodeSelector", "controlPlane.nodeSelector", object, ""),
		move(statefulSet+".scheduling.affinity", "controlPlane.affinity", object, ""),
		move(statefulSet+".scheduling.tolerations", "controlPlane.tolerations", list, ""),
		move(statefulSet+".scheduling.priorityClassName", "controlPlane.priorityClassName", text, ""),
		none(statefulSet+".scheduling.podManagementPolicy", "Replicas start together.", "Parallel", "OrderedReady"),
		none(statefulSet+".scheduling.topologySpreadConstraints", "Only as controlPlane.spread, or as an affinity."),

		via(statefulSet+".persistence.volumeClaim.enabled", "controlPlane.persistence.enabled", anything, automaticSwitch, "The value auto: the chart decides."),
		move(statefulSet+".persistence.volumeClaim.size", "controlPlane.persistence.size", text, ""),
		move(statefulSet+".persistence.volumeClaim.storageClass", "controlPlane.persistence.storageClass", text, ""),
		via(statefulSet+".persistence.volumeClaim.retentionPolicy", "controlPlane.persistence.keep", text, retention, "Retain: true. Delete: false."),
		none(statefulSet+".persistence.volumeClaim.accessModes", "The volume is ReadWriteOnce.", []any{"ReadWriteOnce"}),
		all(statefulSet+".persistence.binariesVolume", "There are no binaries to be copied."),
	),
	each(none, noVolumes,
		statefulSet+".persistence.volumeClaimTemplates", statefulSet+".persistence.dataVolume",
		statefulSet+".persistence.addVolumes", statefulSet+".persistence.addVolumeMounts"),
	one(
		move(statefulSet+".labels", "controlPlane.labels", object, "On the workload and its pods."),
		move(statefulSet+".annotations", "controlPlane.annotations", object, "On the workload and its pods."),
		none(statefulSet+".pods.labels", "controlPlane.labels are on the workload and its pods."),
		none(statefulSet+".pods.annotations", "controlPlane.annotations are on the workload and its pods."),
		move(statefulSet+".imagePullPolicy", "controlPlane.image.pullPolicy", text, ""),
		none(statefulSet+".image.registry", "An image of vcluster's. porticod's own: controlPlane.image.", "ghcr.io"),
		none(statefulSet+".image.repository", "An image of vcluster's. porticod's own: controlPlane.image.", "loft-sh/vcluster-pro", "loft-sh/vcluster-oss", "ghcr.io/loft-sh/vcluster"),
		none(statefulSet+".image.tag", "An image of vcluster's. porticod's own: controlPlane.image."),
		none(statefulSet+".enableServiceLinks", noProcess, true),
		none(statefulSet+".security.podSecurityContext", noSecurity),
		none(statefulSet+".security.containerSecurityContext", noSecurity, map[string]any{"allowPrivilegeEscalation": false, "runAsUser": 0, "runAsGroup": 0}),
	),
	each(none, noProcess,
		statefulSet+".command", statefulSet+".args", statefulSet+".env", statefulSet+".workingDir",
		statefulSet+".dnsPolicy", statefulSet+".dnsConfig"),
	one(
		probe(statefulSet+".probes.livenessProbe"),
		probe(statefulSet+".probes.readinessProbe"),
		probe(statefulSet+".probes.startupProbe"),
	),
	each(none, noExtras, statefulSet+".initContainers", statefulSet+".sidecarContainers", statefulSet+".hostAliases"),

	one(
		none(advanced+".defaultImageRegistry", "There are few images: write controlPlane.image.repository, and coredns.image for the mode deployment."),
		via(advanced+".virtualScheduler.enabled", "sync.nodes.enableScheduler", boolean, scheduler, schedulerInside),
		via(advanced+".serviceAccount.imagePullSecrets", "controlPlane.image.pullSecrets", list, secretNames, "The names alone."),
		move(advanced+".podDisruptionBudget.enabled", "controlPlane.podDisruptionBudget.enabled", boolean, ""),
		always(advanced+".serviceAccount.enabled", noAccounts),
		always(advanced+".workloadServiceAccount.enabled", noAccounts),
	),
	each(none, noAccounts,
		advanced+".serviceAccount.name", advanced+".serviceAccount.labels", advanced+".serviceAccount.annotations",
		advanced+".workloadServiceAccount.name", advanced+".workloadServiceAccount.labels", advanced+".workloadServiceAccount.annotations",
		advanced+".workloadServiceAccount.imagePullSecrets"),
	one(
		none(advanced+".headlessService", "The Services have the chart's labels."),
		none(advanced+".globalMetadata", "Annotations of the workload and its pods: controlPlane.annotations."),
		none(advanced+".registry", "There is no registry inside."),
		none(advanced+".kubeVip", noPrivateNodes),
		all(advanced+".konnectivity", noPrivateNodes),
		all(advanced+".cloudControllerManager", noPrivateNodes),
	),
)

// probe is a row for a probe. Its numbers in vcluster's own files are no wish.
func probe(path string) row {
	return none(path, noProcess,
		map[string]any{"enabled": true},
		map[string]any{"enabled": true, "failureThreshold": 60, "initialDelaySeconds": 60, "timeoutSeconds": 3, "periodSeconds": 2},
		map[string]any{"enabled": true, "failureThreshold": 60, "timeoutSeconds": 3, "periodSeconds": 2},
		map[string]any{"enabled": true, "failureThreshold": 300, "timeoutSeconds": 3, "periodSeconds": 6})
}
