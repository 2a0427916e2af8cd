// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rules

// Pod is the table of pods.
var Pod = Table{
	Kind:   "Pod",
	Kept:   podKept,
	Rules:  podRules,
	Status: podStatus,
	Reach:  podReach,
}

var podStatus = []StatusRule{
	// A readiness gate is a condition that a writer outside of the kubelet
	// sets. DisruptionTarget is written by the eviction of the virtual API (the
	// registry of pods/eviction) and by the taint eviction controller, and
	// reset, without a reason, by the disruption controller; Jobs inside are
	// governed by it. The host's scheduler acts on another reason,
	// PreemptionByScheduler.
	{Field: "conditions", Share: Conditions, Unqualified: map[string][]string{
		"DisruptionTarget": {"", "EvictionByEvictionAPI", "DeletionByTaintManager"},
	}},
	// The controller that makes claims of templates runs inside. The host takes
	// only claims that the pod controls.
	{Field: "resourceClaimStatuses", Share: Whole},
	// A phase or an address says whether the door may dial a pod, and is always the
	// host's, but for the end of a pod: nobody dials one that has ended.
	{Field: "phase", Share: Shown, Values: []string{"Succeeded", "Failed"}},
	{Field: "message", Share: Shown},
	{Field: "reason", Share: Shown},
	// On the host a nominated node reserves room.
	{Field: "nominatedNodeName", Share: Shown, Placement: true},
}

var podRules = []Rule{
	// Environment.
	{Path: containers + ".env[].valueFrom.configMapKeyRef.name", Action: Reference, Kind: "ConfigMap"},
	{Path: containers + ".env[].valueFrom.secretKeyRef.name", Action: Reference, Kind: "Secret"},
	{Path: containers + ".env[].valueFrom.fieldRef.fieldPath", Action: FieldPath},
	{Path: containers + ".envFrom[].configMapRef.name", Action: Reference, Kind: "ConfigMap"},
	{Path: containers + ".envFrom[].secretRef.name", Action: Reference, Kind: "Secret"},
	{Path: containers + ".env[].name", Action: Pass, Pass: "env"},
	{Path: containers + ".env[].value", Action: Pass, Pass: "env"},
	{Path: containers + ".image", Action: Pass, Pass: "images"},
	{Path: containers + ".resources.claims[].name", Action: Pass, Pass: "resourceClaims"},
	{Path: containers + ".resources.claims[].request", Action: Pass, Pass: "resourceClaims"},
	{Path: "spec.enableServiceLinks", Action: Pass, Pass: "env"},

	// Volumes.
	{Path: volumes + ".secret.secretName", Action: Reference, Kind: "Secret"},
	{Path: volumes + ".configMap.name", Action: Reference, Kind: "ConfigMap"},
	{Path: volumes + ".persistentVolumeClaim.claimName", Action: Reference, Kind: "PersistentVolumeClaim"},
	{Path: volumes + ".projected.sources[].secret.name", Action: Reference, Kind: "Secret"},
	{Path: volumes + ".projected.sources[].configMap.name", Action: Reference, Kind: "ConfigMap"},
	{Path: volumes + ".projected.sources[].downwardAPI.items[].fieldRef.fieldPath", Action: FieldPath},
	{Path: volumes + ".downwardAPI.items[].fieldRef.fieldPath", Action: FieldPath},
	{Path: volumes + ".csi.nodePublishSecretRef.name", Action: Reference, Kind: "Secret"},
	// The secrets-store driver reads an object of the pod's namespace.
	{Path: volumes + ".csi.volumeAttributes['secretProviderClass']", Action: Reference, Kind: "SecretProviderClass"},
	{Path: volumes + ".azureFile.secretName", Action: Reference, Kind: "Secret"},
	{Path: volumes + ".cephfs.secretRef.name", Action: Reference, Kind: "Secret"},
	{Path: volumes + ".cinder.secretRef.name", Action: Reference, Kind: "Secret"},
	{Path: volumes + ".flexVolume.secretRef.name", Action: Reference, Kind: "Secret"},
	{Path: volumes + ".glusterfs.endpoints", Action: Reference, Kind: "Endpoints"},
	{Path: volumes + ".iscsi.secretRef.name", Action: Reference, Kind: "Secret"},
	{Path: volumes + ".rbd.secretRef.name", Action: Reference, Kind: "Secret"},
	{Path: volumes + ".scaleIO.secretRef.name", Action: Reference, Kind: "Secret"},
	{Path: volumes + ".storageos.secretRef.name", Action: Reference, Kind: "Secret"},
	{Path: volumes + ".image.reference", Action: Pass, Pass: "images"},
	{Path: volumes + ".ephemeral", Action: Pass, Pass: "ephemeralVolumes"},
	{Path: volumes + ".projected.sources[].clusterTrustBundle", Action: Pass, Pass: "projections"},
	{Path: volumes + ".projected.sources[].podCertificate", Action: Pass, Pass: "projections"},
	{Path: volumes + ".projected.sources[].serviceAccountToken", Action: Pass, Pass: "projections"},

	// Identity. A kubelet goes on without a pull secret that does not exist.
	{Path: "spec.imagePullSecrets[].name", Action: Reference, Kind: "Secret", Optional: true},
	{Path: "spec.serviceAccountName", Action: Pass, Pass: "identity"},
	{Path: "spec.serviceAccount", Action: Pass, Pass: "identity"},
	{Path: "spec.automountServiceAccountToken", Action: Pass, Pass: "identity"},

	// Network.
	{Path: "spec.dnsPolicy", Action: Pass, Pass: "network"},
	{Path: "spec.dnsConfig", Action: Pass, Pass: "network"},
	{Path: "spec.hostAliases", Action: Pass, Pass: "network"},
	{Path: "spec.hostname", Action: Pass, Pass: "network"},
	{Path: "spec.hostnameOverride", Action: Pass, Pass: "network"},
	{Path: "spec.setHostnameAsFQDN", Action: Pass, Pass: "network"},
	{Path: "spec.subdomain", Action: Pass, Pass: "network"},

	// Placement.
	{Path: "spec.affinity.podAffinity", Action: Pass, Pass: "affinity"},
	{Path: "spec.affinity.podAntiAffinity", Action: Pass, Pass: "affinity"},
	{Path: "spec.topologySpreadConstraints", Action: Pass, Pass: "affinity"},
	{Path: "spec.nodeSelector", Action: Pass, Pass: "placement"},
	{Path: "spec.tolerations", Action: Pass, Pass: "tolerations"},
	{Path: "spec.schedulerName", Action: Pass, Pass: "placement"},
	{Path: "spec.priorityClassName", Action: Pass, Pass: "priority"},
	{Path: "spec.priority", Action: Pass, Pass: "priority"},
	{Path: "spec.preemptionPolicy", Action: Pass, Pass: "priority"},
	{Path: "spec.runtimeClassName", Action: Pass, Pass: "runtimeClass"},
	{Path: "spec.overhead", Action: Pass, Pass: "runtimeClass"},
	{Path: "spec.resources.claims[].name", Action: Pass, Pass: "resourceClaims"},
	{Path: "spec.resources.claims[].request", Action: Pass, Pass: "resourceClaims"},
	{Path: "spec.resourceClaims[].resourceClaimName", Action: Reference, Kind: "ResourceClaim"},
	{Path: "spec.resourceClaims[].resourceClaimTemplateName", Action: Reference, Kind: "ResourceClaimTemplate"},
	{Path: "spec.schedulingGroup", Action: Pass, Pass: "placement"},
	{Path: "spec.evictionResponders", Action: Pass, Pass: "placement"},

	// Status.
	{Path: "status.resourceClaimStatuses[].resourceClaimName", Action: Pass, Pass: "claimStatuses"},
	{Path: "status.extendedResourceClaimStatus", Action: Pass, Pass: "claimStatuses"},
	{Path: "status.nodeAllocatableResourceClaimStatuses", Action: Pass, Pass: "claimStatuses"},
	{Path: "status.message", Action: Text},
	{Path: "status.reason", Action: Text},
	{Path: "status.conditions[].reason", Action: Text},
	{Path: "status.conditions[].message", Action: Text},
	{Path: statuses + ".{state,lastState}.waiting.reason", Action: Text},
	{Path: statuses + ".{state,lastState}.waiting.message", Action: Text},
	{Path: statuses + ".{state,lastState}.terminated.reason", Action: Text},
	{Path: statuses + ".{state,lastState}.terminated.message", Action: Text},
	{Path: statuses + ".allocatedResourcesStatus[].resources[].message", Action: Text},
	{Path: statuses + ".image", Action: Pass, Pass: "images"},
	{Path: "status.volumeHealth[].healthConditions[].reason", Action: Text},
	{Path: "status.volumeHealth[].healthConditions[].message", Action: Text},
}

const (
	containers = "spec.{initContainers,containers,ephemeralContainers}[]"
	volumes    = "spec.volumes[]"
	statuses   = "status.{initContainerStatuses,containerStatuses,ephemeralContainerStatuses}[]"
)
