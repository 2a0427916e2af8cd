// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rules

// VolumeDrivers are the sources of a pod's volume that a program on the host
// serves with something of its own: credentials, or the marks by which a
// storage system knows the node (its address, its initiator's name, its keys).
// The tenant only names the volume. Each has the name of its driver, by which
// the operator allows it; it is empty where the source itself names the driver.
//
// The drivers of clouds are those that upstream hands the source over to
// (k8s.io/csi-translation-lib/plugins); other names are those of the plugins in
// a kubelet (k8s.io/kubernetes/pkg/volume), of which older hosts have more.
var VolumeDrivers = map[string]string{
	"awsElasticBlockStore": "ebs.csi.aws.com",
	"azureDisk":            "disk.csi.azure.com",
	"azureFile":            "file.csi.azure.com",
	"cephfs":               "kubernetes.io/cephfs",
	"cinder":               "cinder.csi.openstack.org",
	"csi":                  "",
	"fc":                   "kubernetes.io/fc",
	"flexVolume":           "",
	"flocker":              "kubernetes.io/flocker",
	"gcePersistentDisk":    "pd.csi.storage.gke.io",
	"gitRepo":              "kubernetes.io/git-repo",
	"glusterfs":            "kubernetes.io/glusterfs",
	"iscsi":                "kubernetes.io/iscsi",
	"nfs":                  "kubernetes.io/nfs",
	"photonPersistentDisk": "kubernetes.io/photon-pd",
	"portworxVolume":       "pxd.portworx.com",
	"quobyte":              "kubernetes.io/quobyte",
	"rbd":                  "kubernetes.io/rbd",
	"scaleIO":              "kubernetes.io/scaleio",
	"storageos":            "kubernetes.io/storageos",
	"vsphereVolume":        "csi.vsphere.vmware.com",
}

// PlainVolumes are the other sources, and why every pod may have them.
var PlainVolumes = map[string]string{
	"configMap":             "an object of the pod's namespace",
	"downwardAPI":           "the pod itself",
	"emptyDir":              "made for the pod",
	"ephemeral":             "a claim, which is made inside and has the rules of one",
	"hostPath":              "the node's files are as near to any privileged pod; Pod Security on the host namespace decides about both",
	"image":                 "an image as a container's, with the pod's own pull secrets",
	"persistentVolumeClaim": "an object of the pod's namespace",
	"projected":             "objects of the pod's namespace and the pod itself",
	"secret":                "an object of the pod's namespace",
}

// SystemTaints are the keys of taints by which Kubernetes itself says how a
// node is. Every DaemonSet's pod tolerates them
// (k8s.io/kubernetes/pkg/controller/daemon/util).
var SystemTaints = []string{
	"node.kubernetes.io/disk-pressure",
	"node.kubernetes.io/memory-pressure",
	"node.kubernetes.io/network-unavailable",
	"node.kubernetes.io/not-ready",
	"node.kubernetes.io/pid-pressure",
	"node.kubernetes.io/unreachable",
	"node.kubernetes.io/unschedulable",
}
