// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"encoding/json"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
)

// AnnotationHost holds, on a virtual Node that shows a host node, the host's
// contribution at the last write: the base of a three-way merge, and the mark
// that the Node is ours.
const AnnotationHost = "portico.dev/host-node"

// contribution lists the parts of a virtual Node that came from the host.
// Values are not needed: for these parts the host wins.
type contribution struct {
	// UID of the host node: another one under the same name is another node.
	UID           types.UID `json:"uid"`
	Labels        []string  `json:"labels,omitempty"`
	Annotations   []string  `json:"annotations,omitempty"`
	Taints        []string  `json:"taints,omitempty"` // key:effect
	Resources     []string  `json:"resources,omitempty"`
	Unschedulable bool      `json:"unschedulable,omitempty"`
}

// mirrored says whether a Node shows a host node.
func mirrored(node *corev1.Node) bool { return node.Annotations[AnnotationHost] != "" }

// lastContribution reads the record. One that cannot be read, because a tenant
// wrote it, is an empty one: then nothing is taken away from the Node, and the
// next write repairs it.
func lastContribution(node *corev1.Node) contribution {
	var last contribution
	if raw := node.Annotations[AnnotationHost]; raw != "" {
		if json.Unmarshal([]byte(raw), &last) != nil {
			return contribution{}
		}
		return last
	}
	if node.Labels[LabelFake] != "" {
		// Made up by Controller before host nodes were shown.
		last.Labels = slices.Collect(maps.Keys(Shape{}.node(node.Name).Labels))
		last.Resources = keys(DefaultShape("", "").Capacity)
	}
	return last
}

// merge returns the wanted virtual Node, from the present one and the host's.
// Neither is changed.
//
//   - Parts that the host has are as on the host: labels, annotations and
//     taints by key, the whole status.
//   - Parts that the host had, according to the record, and has no longer are
//     removed.
//   - Everything else is the tenant's and stays: labels, annotations, taints, a
//     cordon, extended resources.
func merge(virtual, host *corev1.Node) *corev1.Node {
	out, last := virtual.DeepCopy(), lastContribution(virtual)
	out.Labels = mergeMap(virtual.Labels, host.Labels, last.Labels)
	out.Annotations = mergeMap(virtual.Annotations, host.Annotations, last.Annotations)

	out.Spec.Taints = mergeTaints(virtual.Spec.Taints, host.Spec.Taints, last.Taints)
	// A cordon of the tenant's survives one of the host's that came later, and
	// is not undone with it.
	cordoned := host.Spec.Unschedulable && (last.Unschedulable || !virtual.Spec.Unschedulable)
	switch {
	case host.Spec.Unschedulable:
		out.Spec.Unschedulable = true
	case last.Unschedulable:
		out.Spec.Unschedulable = false
	}
	// The API lets these be set once. A Node that the tenant made under this
	// name may have others.
	if out.Spec.ProviderID == "" {
		out.Spec.ProviderID = host.Spec.ProviderID
	}
	if len(out.Spec.PodCIDRs) == 0 {
		out.Spec.PodCIDR, out.Spec.PodCIDRs = host.Spec.PodCIDR, slices.Clone(host.Spec.PodCIDRs)
	}

	host.Status.DeepCopyInto(&out.Status)
	out.Status.Capacity = mergeMap(virtual.Status.Capacity, host.Status.Capacity, last.Resources)
	out.Status.Allocatable = mergeMap(virtual.Status.Allocatable, host.Status.Allocatable, last.Resources)
	out.Status.Allocatable = allocatable(out, host)
	if same(withoutHeartbeats(virtual.Status.Conditions), withoutHeartbeats(host.Status.Conditions)) {
		out.Status.Conditions = virtual.Status.Conditions
	}

	record(out, contribution{
		UID:           host.UID,
		Labels:        keys(host.Labels),
		Annotations:   keys(host.Annotations),
		Taints:        taintKeys(host.Spec.Taints),
		Resources:     keys(host.Status.Capacity, host.Status.Allocatable),
		Unschedulable: cordoned,
	})
	return out
}

// allocatable adds the resources that only the tenant gave the Node, all of which
// can be allocated, as a kubelet does with those that it does not manage. One
// whose capacity is gone goes.
func allocatable(node, host *corev1.Node) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name, q := range node.Status.Allocatable {
		_, whole := node.Status.Capacity[name]
		if _, hosts := host.Status.Allocatable[name]; hosts || whole {
			out[name] = q
		}
	}
	for name, q := range node.Status.Capacity {
		_, there := out[name]
		if _, hosts := host.Status.Capacity[name]; !hosts && !there {
			out[name] = q.DeepCopy()
		}
	}
	return out
}

// record notes the host's contribution.
func record(node *corev1.Node, c contribution) {
	raw, err := json.Marshal(c)
	if err != nil {
		return // Strings and booleans can always be encoded.
	}
	if node.Annotations == nil {
		node.Annotations = map[string]string{}
	}
	node.Annotations[AnnotationHost] = string(raw)
}

// mergeMap is a three-way merge of which the host's side wins.
func mergeMap[K ~string, V any, M ~map[K]V](virtual, host M, last []string) M {
	out := make(M, len(virtual)+len(host))
	maps.Copy(out, virtual)
	for _, k := range last {
		delete(out, K(k))
	}
	maps.Copy(out, host)
	if len(out) == 0 {
		return virtual // nil and empty are the same here, and not worth a write
	}
	return out
}

// mergeTaints keeps the order in which the virtual Node has them.
func mergeTaints(virtual, host []corev1.Taint, last []string) []corev1.Taint {
	var out []corev1.Taint
	done := map[string]bool{}
	for _, t := range virtual {
		id := taintKey(t)
		at := slices.IndexFunc(host, func(h corev1.Taint) bool { return taintKey(h) == id })
		switch {
		case done[id]:
		case at >= 0:
			out = append(out, *host[at].DeepCopy())
		case !slices.Contains(last, id):
			out = append(out, t)
		}
		done[id] = true
	}
	for _, t := range host {
		if !done[taintKey(t)] {
			out = append(out, *t.DeepCopy())
		}
	}
	return out
}

// taintKey is the part of a taint by which the API knows it.
func taintKey(t corev1.Taint) string { return t.Key + ":" + string(t.Effect) }

func taintKeys(taints []corev1.Taint) []string {
	var out []string
	for _, t := range taints {
		out = append(out, taintKey(t))
	}
	slices.Sort(out)
	return out
}

func keys[K ~string, V any, M ~map[K]V](all ...M) []string {
	var out []string
	for _, m := range all {
		for k := range m {
			out = append(out, string(k))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// same compares as the API does: nil and empty are the same, and so are 1 and
// 1000m.
func same(a, b any) bool { return equality.Semantic.DeepEqual(a, b) }
