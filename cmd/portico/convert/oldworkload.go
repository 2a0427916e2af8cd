// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import "slices"

const (
	onePod     = "API server, controllers and translation are one process in one pod: see controlPlane."
	noK3sFlags = "Flags of a distribution cannot be set. An external datastore of k3s is store.endpoint."
)

// oldWorkloadRows are the keys of the charts before 0.20 that shape the
// workload: of the pod, its volume, its Service and its etcd.
var oldWorkloadRows = slices.Concat(
	one(
		via("enableHA", "controlPlane.etcd.enabled", boolean, either, "How many: controlPlane.replicas and controlPlane.etcd.replicas."),
		via("replicas", "controlPlane.replicas", number, highest, onePod),
		via("syncer.replicas", "controlPlane.replicas", number, highest, onePod),
		via("api.replicas", "controlPlane.replicas", number, highest, onePod),
		via("controller.replicas", "controlPlane.replicas", number, highest, onePod),
		all("scheduler.replicas", schedulerInProcess),

		via("syncer.extraArgs", "", list, syncerArgs, "--tls-san becomes certSANs, --enforce-toleration pods.tolerations, --translate-image images. Others are missing."),
		move("syncer.resources", "controlPlane.resources", object, "Measured for another program: compare docs/configuration.md, Bounds."),
		move("syncer.serviceAnnotations", "controlPlane.service.annotations", object, ""),
		move("syncer.nodeSelector", "controlPlane.nodeSelector", object, ""),
		move("syncer.affinity", "controlPlane.affinity", object, ""),
		move("syncer.tolerations", "controlPlane.tolerations", list, ""),
		move("syncer.priorityClassName", "controlPlane.priorityClassName", text, ""),
		move("syncer.labels", "controlPlane.labels", object, "On the workload and its pods."),
		move("syncer.annotations", "controlPlane.annotations", object, "On the workload and its pods."),
		none("syncer.kubeConfigContextName", "The context in the Secret pc-NAME has a fixed name. portico connect --print writes a kubeconfig of its own.", "my-vcluster"),
		none("syncer.volumeMounts", noVolumes, []any{map[string]any{"mountPath": "/data", "name": "data", "readOnly": true}}),
	),
	each(none, noVolumes, "syncer.extraVolumeMounts", "syncer.volumes", "syncer.storage", "volumes"),
	each(none, noSecurity, "syncer.securityContext", "syncer.podSecurityContext", "podSecurityContext", "api.securityContext", "controller.securityContext"),
	one(none("securityContext", noSecurity, map[string]any{"allowPrivilegeEscalation": false}, map[string]any{"allowPrivilegeEscalation": false, "runAsUser": 0, "runAsGroup": 0})),
	each(none, noProcess, "syncer.env"),
	one(
		none("syncer.livenessProbe", noProcess, map[string]any{"enabled": true}),
		none("syncer.readinessProbe", noProcess, map[string]any{"enabled": true}),
	),
	each(none, "controlPlane.annotations and controlPlane.labels are on the workload and its pods.",
		"syncer.podAnnotations", "syncer.podLabels", "podAnnotations", "podLabels"),
	each(all, "An image of vcluster's. porticod's own: controlPlane.image.",
		"syncer.image", "syncer.imagePullPolicy", "vcluster.image", "vcluster.imagePullPolicy",
		"api.image", "api.imagePullPolicy", "controller.image", "controller.imagePullPolicy", "scheduler.image", "scheduler.imagePullPolicy"),
	each(none, noFlags, "api.extraArgs", "controller.extraArgs", "scheduler.extraArgs"),
	components("api", "controller", "scheduler"),
	each(none, noK3sFlags, "vcluster.extraArgs", "vcluster.env", "k3sToken"),
	each(all, noK3sFlags, "vcluster.command", "vcluster.baseArgs"),
	one(
		none("vcluster.resources", onePod, map[string]any{"limits": map[string]any{"memory": "2Gi"}, "requests": map[string]any{"cpu": "200m", "memory": "256Mi"}}),
		none("vcluster.volumeMounts", noVolumes, []any{map[string]any{"mountPath": "/data", "name": "data"}}),
		none("vcluster.extraVolumeMounts", noVolumes),
		move("vcluster.priorityClassName", "controlPlane.priorityClassName", text, ""),
		none("job", "No Job runs before the install: porticod makes its certificates."),

		move("storage.persistence", "controlPlane.persistence.enabled", boolean, ""),
		move("storage.size", "controlPlane.persistence.size", text, ""),
		move("storage.className", "controlPlane.persistence.storageClass", text, ""),
		all("storage.binariesVolume", "There are no binaries to be copied."),
		via("autoDeletePersistentVolumeClaims", "controlPlane.persistence.keep", boolean, negated, "The opposite."),

		via("etcd.replicas", "controlPlane.etcd.replicas", number, etcdReplicas, "Switches controlPlane.etcd on."),
		none("etcd.disabled", "The chart has an etcd only if controlPlane.etcd is on."),
		via("embeddedEtcd.enabled", "controlPlane.etcd.enabled", boolean, either, "As pods of their own next to porticod."),
		none("embeddedEtcd.migrateFromEtcd", "No data of a vcluster is taken over (docs/from-vcluster.md)."),
		always("etcd.storage.persistence", noEtcdOptions),
		none("etcd.autoDeletePersistentVolumeClaims", noEtcdOptions, true),
		none("etcd.resources", noEtcdOptions, map[string]any{"requests": map[string]any{"cpu": "20m", "memory": "150Mi"}}),
		none("etcd.storage.size", noEtcdOptions, "5Gi"),
	),
	each(none, noEtcdOptions,
		"etcd.image", "etcd.imagePullPolicy", "etcd.storage.className", "etcd.extraArgs", "etcd.volumes", "etcd.nodeSelector", "etcd.affinity",
		"etcd.tolerations", "etcd.priorityClassName", "etcd.labels", "etcd.annotations", "etcd.podLabels", "etcd.podAnnotations",
		"etcd.securityContext", "etcd.serviceAnnotations", "etcd.fsGroup"),
	one(
		move("service.type", "controlPlane.service.type", text, ""),
		move("service.loadBalancerIP", "controlPlane.service.loadBalancerIP", text, ""),
		move("service.loadBalancerSourceRanges", "controlPlane.service.loadBalancerSourceRanges", list, ""),
		move("service.externalTrafficPolicy", "controlPlane.service.externalTrafficPolicy", text, ""),
		move("service.loadBalancerAnnotations", "controlPlane.service.annotations", object, ""),
		none("service.externalIPs", "The Service has no external IPs."),
		none("service.loadBalancerClass", "The class of a load balancer is not in the chart."),

		move("ingress.enabled", "controlPlane.ingress.enabled", boolean, ""),
	),
	when("ingress.enabled",
		move("ingress.host", "controlPlane.ingress.host", text, ""),
		move("ingress.ingressClassName", "controlPlane.ingress.className", text, ""),
		move("ingress.annotations", "controlPlane.ingress.annotations", object, ""),
		none("ingress.pathType", throughIngress, "ImplementationSpecific"),
		none("ingress.apiVersion", throughIngress, "networking.k8s.io/v1"),
		none("ingress.tls", throughIngress),
	),
	one(
		move("nodeSelector", "controlPlane.nodeSelector", object, ""),
		move("affinity", "controlPlane.affinity", object, ""),
		move("tolerations", "controlPlane.tolerations", list, ""),
		move("priorityClassName", "controlPlane.priorityClassName", text, ""),
		move("labels", "controlPlane.labels", object, "On the workload and its pods."),
		move("annotations", "controlPlane.annotations", object, "On the workload and its pods."),
		move("podDisruptionBudget.enabled", "controlPlane.podDisruptionBudget.enabled", boolean, ""),
		none("podDisruptionBudget.minAvailable", "The chart chooses the number."),
		none("podDisruptionBudget.maxUnavailable", "The chart chooses the number."),
		move("monitoring.serviceMonitor.enabled", "controlPlane.serviceMonitor.enabled", boolean, ""),
		via("serviceAccount.imagePullSecrets", "controlPlane.image.pullSecrets", list, secretNames, "The names alone."),
		always("serviceAccount.create", noAccounts),
		none("serviceAccount.name", noAccounts),
		none("workloadServiceAccount.annotations", noAccounts),
	),
)

// components are rows of programs that had pods of their own.
func components(names ...string) []row {
	var rows []row
	for _, name := range names {
		rows = append(rows, none(name+".resources", onePod,
			map[string]any{"requests": map[string]any{"cpu": "40m", "memory": "300Mi"}},
			map[string]any{"requests": map[string]any{"cpu": "15m"}},
			map[string]any{"requests": map[string]any{"cpu": "10m"}}))
		for _, key := range []string{"nodeSelector", "affinity", "tolerations", "priorityClassName", "labels", "annotations", "podLabels", "podAnnotations", "serviceAnnotations", "volumes"} {
			rows = append(rows, none(name+"."+key, onePod))
		}
		rows = append(rows, none(name+".disabled", onePod))
	}
	return rows
}
