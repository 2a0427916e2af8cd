// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"portico.dev/portico/sync/internal/mirror"
)

var (
	errMark = fmt.Errorf("%s and %s mark nodes of the host, and only porticod sets them", AnnotationHost, LabelFake)
	errNode = errors.New("the node is the host's, and shown for as long as it is there and in use: it cannot be deleted")
)

// Judge refuses a tenant's write to a shown or made-up node that would have no
// effect, and warns of one that holds inside only. A new node has nothing before,
// a deleted one nothing after.
func Judge(before, after *corev1.Node) (warnings []string, err error) {
	switch {
	case before == nil || !shown(before):
		if after != nil && shown(after) {
			return nil, errMark
		}
		return nil, nil
	case after == nil:
		return nil, errNode
	case before.Annotations[AnnotationHost] != after.Annotations[AnnotationHost] || before.Labels[LabelFake] != after.Labels[LabelFake]:
		return nil, errMark
	}
	if undone := undoes(before, after); len(undone) > 0 {
		return nil, fmt.Errorf("the node is the host's, and as there: %s cannot be changed", strings.Join(undone, ", "))
	}
	return insideOnly(before, after), nil
}

func shown(node *corev1.Node) bool { return mirrored(node) || node.Labels[LabelFake] != "" }

// undoes names the changes that merge, or the next heartbeat of a made-up node,
// takes back.
func undoes(before, after *corev1.Node) []string {
	last := lastContribution(before)
	var undone []string
	if mirrored(before) {
		undone = append(undone, differing("label", last.Labels, before.Labels, after.Labels)...)
		undone = append(undone, differing("annotation", last.Annotations, before.Annotations, after.Annotations)...)
		undone = append(undone, differing("taint", last.Taints, taintsByKey(before), taintsByKey(after))...)
		if last.Unschedulable && before.Spec.Unschedulable && !after.Spec.Unschedulable {
			undone = append(undone, "its cordon")
		}
	}
	b, a := before.Status.DeepCopy(), after.Status.DeepCopy()
	b.Capacity, a.Capacity = only(last.Resources, b.Capacity), only(last.Resources, a.Capacity)
	b.Allocatable, a.Allocatable = only(last.Resources, b.Allocatable), only(last.Resources, a.Allocatable)
	for _, field := range mirror.Changes(*b, *a) {
		undone = append(undone, "status."+field)
	}
	return undone
}

// differing names those of the host's keys whose values differ.
func differing[V any](noun string, hosts []string, before, after map[string]V) []string {
	var names []string
	for _, key := range hosts {
		b, had := before[key]
		a, has := after[key]
		if had != has || !same(b, a) {
			names = append(names, noun+" "+key)
		}
	}
	return names
}

func taintsByKey(node *corev1.Node) map[string]corev1.Taint {
	all := make(map[string]corev1.Taint, len(node.Spec.Taints))
	for _, t := range node.Spec.Taints {
		t.TimeAdded = nil
		all[taintKey(t)] = t
	}
	return all
}

// only returns the part of a list of resources that the host has.
func only(hosts []string, list corev1.ResourceList) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name, quantity := range list {
		if slices.Contains(hosts, string(name)) {
			out[name] = quantity
		}
	}
	return out
}

// insideOnly are the changes that the host's scheduler does not know of.
func insideOnly(before, after *corev1.Node) []string {
	var warnings []string
	had := taintsByKey(before)
	for key := range taintsByKey(after) {
		if _, ok := had[key]; !ok {
			warnings = append(warnings, fmt.Sprintf("the taint %s holds inside only: the host schedules, and its pods come to this node all the same", key))
		}
	}
	slices.Sort(warnings)
	if after.Spec.Unschedulable && !before.Spec.Unschedulable {
		warnings = append(warnings, "the cordon holds inside only: the host schedules, and pods come to this node all the same")
	}
	return warnings
}
