// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rules

// MovedLabels are label keys that host tooling acts on: with them, an Argo CD
// or a Flux of the host would adopt, and prune, a tenant's object. They stand
// on the host under a hashed key. An entry is a key, or a prefix that ends in
// "/" or "*".
var MovedLabels = []string{
	"argocd.argoproj.io/",
	"kustomize.toolkit.fluxcd.io/",
	"helm.toolkit.fluxcd.io/",
}

// HiddenAnnotations are annotations that tooling on the host acts on, or that
// describe the tenant's object and not the host's. They are kept in the
// overlay.
var HiddenAnnotations = []string{
	// kubectl on the host would compute a three-way diff from it.
	"kubectl.kubernetes.io/last-applied-configuration",
	"argocd.argoproj.io/",
	"kustomize.toolkit.fluxcd.io/",
	"helm.toolkit.fluxcd.io/",
	"meta.helm.sh/",
	// A kubelet takes a pod with these for a static pod or its mirror.
	"kubernetes.io/config.hash",
	"kubernetes.io/config.mirror",
	"kubernetes.io/config.source",
	// They describe a token Secret, which is Opaque on the host.
	"kubernetes.io/service-account.name",
	"kubernetes.io/service-account.uid",
}

// NodeAnnotations change the network, the runtime or the cloud identity of a pod
// on its node, behind the back of the host's policies. They are hidden as well
// if the cluster is set up so.
var NodeAnnotations = []string{
	"k8s.v1.cni.cncf.io/",
	"v1.multus-cni.io/",
	"cni.projectcalico.org/",
	"ipam.cilium.io/",
	"ipam.antrea.io/",
	"k8s.ovn.org/",
	"ovn.kubernetes.io/",
	"kubernetes.io/ingress-bandwidth",
	"kubernetes.io/egress-bandwidth",
	"io.kubernetes.cri-o.*",
	"io.kubernetes.cri.*",
	"io.containerd.*",
	"io.katacontainers.*",
	"dev.gvisor.*",
	"org.systemd.property.*",
	"run.oci.*",
	"cdi.k8s.io/",
	// An agent on the node hands out the role that is named here.
	"iam.amazonaws.com/",
}

// HostAnnotations are, by kind, the annotations that controllers of the host
// write to find their own work again. What a tenant writes there stays virtual.
var HostAnnotations = map[string][]string{
	"PersistentVolumeClaim": {
		"pv.kubernetes.io/",
		"volume.kubernetes.io/",
		"volume.beta.kubernetes.io/storage-provisioner",
	},
}

// HostFinalizers are, by kind, the finalizers that admission of the host adds
// and a controller of the host removes. A tenant's object that brings one along
// carries it on the host, where it means the same.
var HostFinalizers = map[string][]string{
	"PersistentVolumeClaim": {"kubernetes.io/pvc-protection"},
	"ResourceClaim":         {"resource.kubernetes.io/delete-protection"},
}
