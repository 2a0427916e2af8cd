// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rules

// PersistentVolume is the table of PersistentVolumes.
var PersistentVolume = Table{
	Kind: "PersistentVolume",
	Rules: []Rule{
		{Path: "spec.claimRef", Action: Pass, Pass: "PersistentVolumeToHost"},
		{Path: "spec.storageClassName", Action: Pass, Pass: "PersistentVolumeToHost"},
		{Path: "spec.persistentVolumeReclaimPolicy", Action: Pass, Pass: "PersistentVolumeToHost"},
		{Path: "spec.volumeAttributesClassName", Action: Pass, Pass: "PersistentVolumeProblems"},
		{Path: "spec.mountOptions[]", Action: Pass, Pass: "PersistentVolumeProblems"},
	},
	Kept: []Excuse{
		{Reason: "a place that the operator lets tenants name, without a Secret (PersistentVolumeProblems)", Paths: []string{
			"spec.{gcePersistentDisk,awsElasticBlockStore,hostPath,glusterfs,nfs,rbd,iscsi,cinder,cephfs,fc,flocker,flexVolume,azureFile}",
			"spec.{vsphereVolume,quobyte,azureDisk,photonPersistentDisk,portworxVolume,scaleIO,local,storageos,csi}",
		}},
		{Reason: "a word of the API", Paths: []string{"spec.accessModes[]", "spec.volumeMode"}},
		{Reason: "labels of nodes, which are the host's and the same inside", Paths: []string{"spec.nodeAffinity"}},
		{Reason: "a copy has no status of the tenant's; the host's is shown", Paths: []string{"status.phase", "status.message", "status.reason"}},
	},
}

// NodeVolumes are the sources of volumes that reach into a node, by the names of
// their plugins in a kubelet (k8s.io/kubernetes/pkg/volume). A tenant has them only
// if an operator names the plugin.
var NodeVolumes = map[string]string{
	"hostPath": "kubernetes.io/host-path",
	"local":    "kubernetes.io/local-volume",
}
