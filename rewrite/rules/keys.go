// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rules

// KeyGroup is a group of label and annotation keys that are treated alike for
// one reason. An entry is one of
//
//	example.com/key    this key
//	example.com/       every key with this prefix
//	*.example.com/     the same for the domain and everything below it
//	*.example.com      this key and every one that ends in it
//	example*           every key that begins so
type KeyGroup struct {
	// Name describes the keys, Reason says why they are treated so.
	Name, Reason string
	// Keys are labels and annotations alike, Labels and Annotations one of them.
	Keys, Labels, Annotations []string
}

// NeverKeys describe the tenant's object and not the host's. They reach the
// host for no kind and by no configuration.
var NeverKeys = []KeyGroup{
	{
		Name: "kubectl", Reason: "kubectl on the host would compute a three-way diff from it",
		Annotations: []string{"kubectl.kubernetes.io/last-applied-configuration"},
	},
	{
		Name: "static pods", Reason: "a kubelet takes a pod with these for a static pod or its mirror",
		Annotations: []string{"kubernetes.io/config.hash", "kubernetes.io/config.mirror", "kubernetes.io/config.source", "kubernetes.io/config.seen"},
	},
	{
		Name: "token Secrets", Reason: "they describe a token Secret, which is Opaque on the host",
		Annotations: []string{"kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"},
	},
}

// HostAnnotations are, by kind, the annotations that controllers of the host
// write to find their own work again. A tenant's value there stays virtual, and
// where the host has a value, the host's is shown.
var HostAnnotations = map[string][]string{
	"PersistentVolumeClaim": {
		"pv.kubernetes.io/",
		"volume.kubernetes.io/",
		"volume.beta.kubernetes.io/storage-provisioner",
	},
}

// SelectedNode is the annotation by which a scheduler says on which node a claim's
// volume is needed.
const SelectedNode = "volume.kubernetes.io/selected-node"

// PlacementAnnotations are those of HostAnnotations that a scheduler inside writes,
// in a cluster that has one: whole keys, and no patterns. A controller of the host
// may take one away, to have another.
var PlacementAnnotations = map[string][]string{
	"PersistentVolumeClaim": {SelectedNode},
}

// HostFinalizers are, by kind, the finalizers that admission of the host adds
// and a controller of the host removes. A tenant's object that brings one along
// carries it on the host, where it means the same.
var HostFinalizers = map[string][]string{
	"PersistentVolumeClaim": {"kubernetes.io/pvc-protection"},
	"ResourceClaim":         {"resource.kubernetes.io/delete-protection"},
}
