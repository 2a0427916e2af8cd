// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// kwok's mark for nodes that are not real, and the value it documents.
const (
	nodeAnnotation = "kwok.x-k8s.io/node"
	nodeSimulated  = "fake"
)

// maxNodes is how many /20 networks the pod range 10.128.0.0/10 holds.
const maxNodes = 1024

// node returns the i-th simulated node, counted from 0.
//
// Its conditions are left to kwok's node-initialize stage, so that a node is
// Ready only when something keeps it ready.
func node(prefix string, i int) *corev1.Node {
	name := fmt.Sprintf("%s-%d", prefix, i+1)
	resources := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("32"),
		corev1.ResourceMemory:           resource.MustParse("256Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
		// A /20 holds 4094 addresses; kwok does not stop at a network's end.
		corev1.ResourcePods: resource.MustParse("4000"),
	}
	podCIDR := fmt.Sprintf("10.%d.%d.0/20", 128+i/16, i%16*16)
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Annotations: map[string]string{nodeAnnotation: nodeSimulated},
			Labels: map[string]string{
				corev1.LabelHostname:   name,
				corev1.LabelOSStable:   "linux",
				corev1.LabelArchStable: "amd64",
			},
		},
		Spec: corev1.NodeSpec{PodCIDR: podCIDR, PodCIDRs: []string{podCIDR}},
		Status: corev1.NodeStatus{
			Capacity:    resources,
			Allocatable: resources,
			Addresses: []corev1.NodeAddress{
				// TEST-NET-2 and -3 continue no further than needed for a demo;
				// the benchmarking range 198.18.0.0/15 has room for all.
				{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("198.18.%d.%d", i/250, i%250+1)},
				{Type: corev1.NodeHostName, Address: name},
			},
		},
	}
}
