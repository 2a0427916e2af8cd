// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import "k8s.io/kubernetes/cmd/kube-controller-manager/names"

// Mode says which kind of cluster the controllers serve.
type Mode int

const (
	// Virtual is a virtual cluster: its pods, Services and
	// PersistentVolumeClaims live on a host cluster, whose own controllers look
	// after nodes and volumes.
	Virtual Mode = iota
	// Host is a whole cluster with simulated nodes and without a cloud or real
	// volumes: the embedded host.
	Host
)

// String names the mode for logs.
func (m Mode) String() string {
	if m == Host {
		return "host"
	}
	return "virtual"
}

// choice is one row of the table: an empty reason means that the controller
// runs in that mode.
type choice struct {
	notVirtual, notHost string
	// withClaims means that Config.ResourceClaims overrules notVirtual.
	withClaims bool
}

// Reasons that several rows share.
const (
	hostHasNodes   = "nodes are the host's; a tenant sees a projection of them"
	hostHasVolumes = "volumes are the host's: it binds, attaches, expands and protects them"
	noVolumes      = "the embedded host has no volumes to attach or expand"
	noBootstrap    = "nothing joins this cluster with bootstrap tokens; upstream has it off by default too"
	noPodGroups    = "needs the GenericWorkload feature, which is off"
	noDevices      = "devices are the host's"
	noKubelet      = "pod certificates are asked for by a kubelet, and none talks to this API server"
)

// table lists every controller of kube-controller-manager. It must name them
// all: see TestTableCoversUpstream.
func table() map[string]choice {
	runs := choice{}
	return map[string]choice{
		// Workloads.
		names.ReplicationControllerController:   runs,
		names.DaemonSetController:               runs,
		names.JobController:                     runs,
		names.CronJobController:                 runs,
		names.DeploymentController:              runs,
		names.ReplicaSetController:              runs,
		names.StatefulSetController:             runs,
		names.HorizontalPodAutoscalerController: runs,
		names.DisruptionController:              runs,
		names.TTLAfterFinishedController:        runs,
		names.PodGroupProtectionController:      {notVirtual: noPodGroups, notHost: noPodGroups},

		// Objects of every kind.
		names.NamespaceController:                       runs,
		names.GarbageCollectorController:                runs,
		names.ResourceQuotaController:                   runs,
		names.ClusterRoleAggregationController:          runs,
		names.ValidatingAdmissionPolicyStatusController: runs,

		// Identities.
		names.ServiceAccountController:                           runs,
		names.ServiceAccountTokenController:                      runs,
		names.LegacyServiceAccountTokenCleanerController:         runs,
		names.RootCACertificatePublisherController:               runs,
		names.KubeAPIServerClusterTrustBundlePublisherController: runs,
		names.CertificateSigningRequestSigningController:         runs,
		names.CertificateSigningRequestApprovingController:       runs,
		names.CertificateSigningRequestCleanerController:         runs,
		names.PodCertificateRequestCleanerController:             {notHost: noKubelet},
		names.BootstrapSignerController:                          {notVirtual: noBootstrap, notHost: noBootstrap},
		names.TokenCleanerController:                             {notVirtual: noBootstrap, notHost: noBootstrap},

		// Endpoints and EndpointSlices are kinds of the virtual cluster's own,
		// computed from the projected pods.
		names.EndpointsController:              runs,
		names.EndpointSliceController:          runs,
		names.EndpointSliceMirroringController: runs,
		names.ServiceCIDRController:            {notVirtual: "the host allocates the addresses of Services"},

		// The claim behind a generic ephemeral volume is made here and
		// translated like any other.
		names.EphemeralVolumeController: runs,

		// Nodes and the pods on them. Whether a node works is for the host to
		// say; a tenant's own taints are the tenant's, and evict only pods of
		// this cluster.
		names.NodeIpamController:            {notVirtual: hostHasNodes, notHost: "simulated nodes hand out pod addresses themselves"},
		names.NodeLifecycleController:       {notVirtual: hostHasNodes},
		names.TaintEvictionController:       runs,
		names.TTLController:                 {notVirtual: hostHasNodes},
		names.PodGarbageCollectorController: {notVirtual: "it deletes the pods of nodes it does not know, and finished pods are the host's to collect"},
		names.DeviceTaintEvictionController: {notVirtual: noDevices, notHost: "simulated nodes have no devices"},
		names.ResourceClaimController:       {notVirtual: "a pod's claims are dropped on the way to the host", withClaims: true},
		names.ResourcePoolStatusRequestController: {
			notVirtual: noDevices, notHost: "simulated nodes have no devices",
		},

		// Volumes.
		names.PersistentVolumeBinderController:          {notVirtual: hostHasVolumes},
		names.PersistentVolumeClaimProtectionController: {notVirtual: hostHasVolumes},
		names.PersistentVolumeProtectionController:      {notVirtual: hostHasVolumes},
		names.PersistentVolumeAttachDetachController:    {notVirtual: hostHasVolumes, notHost: noVolumes},
		names.PersistentVolumeExpanderController:        {notVirtual: hostHasVolumes, notHost: noVolumes},
		names.VolumeAttributesClassProtectionController: {notVirtual: hostHasVolumes, notHost: noVolumes},
		names.SELinuxWarningController:                  {notVirtual: hostHasVolumes, notHost: "off by default upstream"},

		// Stored versions.
		names.StorageVersionGarbageCollectorController: {
			notVirtual: "needs the StorageVersionAPI feature, which is off",
			notHost:    "needs the StorageVersionAPI feature, which is off",
		},
		names.StorageVersionMigratorController: {
			notVirtual: "rewrites every object of a kind at one request; translated kinds have no stored version here",
			notHost:    "the embedded host never outlives one version of its store",
		},
	}
}

// skipped says why a controller does not run; "" means that it does.
func (c choice) skipped(cfg Config) string {
	switch {
	case cfg.Mode == Host:
		return c.notHost
	case c.withClaims && cfg.ResourceClaims:
		return ""
	}
	return c.notVirtual
}
