// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
)

// privateAnnotations are the domains, with all below them, under which node
// agents keep notes for themselves on a host node: addresses and keys of the
// pod network, command lines, machine names, volume drivers. They say how the
// host is built, and nothing in a virtual cluster acts on them.
var privateAnnotations = []string{
	// Kubernetes' own components.
	"kubeadm.alpha.kubernetes.io", // CRI socket
	"node.alpha.kubernetes.io",    // hints of the node controllers to kubelets
	"alpha.kubernetes.io",         // provided node addresses
	"csi.volume.kubernetes.io",    // identities at the storage drivers
	"volumes.kubernetes.io",       // who attaches
	"kubectl.kubernetes.io",       // last-applied-configuration
	"node-restriction.kubernetes.io",
	// Pod networks.
	"projectcalico.org", "cilium.io", "flannel.alpha.coreos.com", "kube-router.io", "antrea.io", "weave.works",
	"k8s.ovn.org", "ovn.kubernetes.io", "submariner.io", "wireguard.io", "kilo.squat.ai",
	// Distributions and machine management.
	"k3s.io", "rke2.io", "cattle.io", "k0sproject.io", "talos.dev", "x-k8s.io", "openshift.io", "gke.io", "gardener.cloud",
	"machine.sapcloud.io", "microshift.io",
	// This project's, when the host is a virtual cluster itself.
	strings.TrimSuffix(rewrite.Prefix, "/"),
}

// show reduces a host node to the parts that the virtual cluster shows, in
// place. Applied twice it does the same as once.
func show(node *corev1.Node, hideImages bool, tolerations []corev1.Toleration) {
	node.ManagedFields, node.OwnerReferences, node.Finalizers = nil, nil, nil
	for key := range node.Annotations {
		if private(key) {
			delete(node.Annotations, key)
		}
	}
	for key := range node.Labels {
		if strings.HasPrefix(key, rewrite.Prefix) {
			delete(node.Labels, key)
		}
	}
	node.Spec.Taints = slices.DeleteFunc(node.Spec.Taints, func(taint corev1.Taint) bool {
		return slices.ContainsFunc(tolerations, func(t corev1.Toleration) bool {
			return t.ToleratesTaint(klog.Background(), &taint, true)
		})
	})
	// Volumes are those of all pods on the node; the configuration is the
	// kubelet's.
	node.Status.VolumesInUse, node.Status.VolumesAttached, node.Status.Config = nil, nil, nil
	if hideImages {
		node.Status.Images = nil
	}
}

// transform is show for an informer, which must not change objects that others
// may hold.
func transform(hideImages bool, tolerations []corev1.Toleration) func(any) (any, error) {
	return func(obj any) (any, error) {
		node, ok := obj.(*corev1.Node)
		if !ok {
			return obj, nil
		}
		shown := node.DeepCopy()
		show(shown, hideImages, tolerations)
		return shown, nil
	}
}

func private(key string) bool {
	domain, _, prefixed := strings.Cut(key, "/")
	if !prefixed {
		return false
	}
	for _, p := range privateAnnotations {
		if domain == p || strings.HasSuffix(domain, "."+p) {
			return true
		}
	}
	return false
}

// sameShape says whether two states of a host node show the same, apart from
// the time of the last heartbeat, which is all that most updates of a Node
// change.
func sameShape(a, b *corev1.Node) bool {
	x, y := *a, *b
	x.ResourceVersion, y.ResourceVersion = "", ""
	x.Status.Conditions, y.Status.Conditions = withoutHeartbeats(a.Status.Conditions), withoutHeartbeats(b.Status.Conditions)
	return same(&x, &y)
}

func withoutHeartbeats(in []corev1.NodeCondition) []corev1.NodeCondition {
	out := make([]corev1.NodeCondition, len(in))
	for i, c := range in {
		c.LastHeartbeatTime = metav1.Time{}
		out[i] = c
	}
	return out
}
