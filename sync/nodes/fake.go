// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// LabelFake marks the Nodes that this package made. The prefix is reserved, so
// a tenant cannot set it on translated kinds; on a Node, which is the tenant's
// own kind, setting it hands the Node over to us.
const LabelFake = "portico.dev/fake-node"

// Shape is the machine that made-up Nodes claim to be.
type Shape struct {
	// Capacity is also the allocatable amount. Tools divide by it and refuse to
	// plan with zero, so it is never empty.
	Capacity corev1.ResourceList
	// KubeletVersion is the version shown by kubectl get nodes, for example
	// v1.37.2.
	KubeletVersion string
	// Architecture is GOARCH of the host's nodes.
	Architecture string
}

// DefaultShape is a large ordinary machine: the host's own limits decide which
// pods really fit.
func DefaultShape(kubeletVersion, architecture string) Shape {
	return Shape{
		Capacity: corev1.ResourceList{
			corev1.ResourceCPU:              resource.MustParse("16"),
			corev1.ResourceMemory:           resource.MustParse("32Gi"),
			corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
			corev1.ResourcePods:             resource.MustParse("110"),
		},
		KubeletVersion: kubeletVersion,
		Architecture:   architecture,
	}
}

// node returns a new Node without status: the API server drops the status of a
// Node that is created.
func (s Shape) node(name string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: name,
		Labels: map[string]string{
			LabelFake:                 "true",
			corev1.LabelHostname:      name,
			corev1.LabelOSStable:      "linux",
			corev1.LabelArchStable:    s.Architecture,
			"beta.kubernetes.io/os":   "linux",
			"beta.kubernetes.io/arch": s.Architecture,
		},
	}}
}

// status returns the status that the kubelet of a healthy node would report
// now. Conditions that exist keep their transition time.
func (s Shape) status(name, internalIP string, old []corev1.NodeCondition, now metav1.Time) corev1.NodeStatus {
	status := corev1.NodeStatus{
		Capacity:    s.Capacity.DeepCopy(),
		Allocatable: s.Capacity.DeepCopy(),
		Addresses:   []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: name}},
		NodeInfo: corev1.NodeSystemInfo{
			OSImage: "Portico", OperatingSystem: "linux", Architecture: s.Architecture, KubeletVersion: s.KubeletVersion,
			ContainerRuntimeVersion: "portico://fake",
		},
	}
	if internalIP != "" {
		status.Addresses = append([]corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: internalIP}}, status.Addresses...)
	}
	for _, c := range []corev1.NodeCondition{
		{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasSufficientMemory", Message: "kubelet has sufficient memory available"},
		{Type: corev1.NodeDiskPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasNoDiskPressure", Message: "kubelet has no disk pressure"},
		{Type: corev1.NodePIDPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasSufficientPID", Message: "kubelet has sufficient PID available"},
		{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status"},
	} {
		c.LastHeartbeatTime, c.LastTransitionTime = now, now
		for _, o := range old {
			if o.Type == c.Type && o.Status == c.Status && !o.LastTransitionTime.IsZero() {
				c.LastTransitionTime = o.LastTransitionTime
			}
		}
		status.Conditions = append(status.Conditions, c)
	}
	return status
}
