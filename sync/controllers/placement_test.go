// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/latest"
	"k8s.io/kubernetes/pkg/scheduler/framework"
)

// hostOf refuses pods on the nodes that it names.
type hostOf map[string]string

func (h hostOf) LeftToHost(pod *corev1.Pod) bool { return pod.Name == "left" }

func (h hostOf) Refuses(*corev1.Pod) func(string) string {
	return func(node string) string { return h[node] }
}

// A node that the host would refuse is left out, with a reason that no preemption
// inside can help, and a pod that the host places is not tried at all.
func TestPlacementPlugin(t *testing.T) {
	profiles, err := latest.Default()
	if err != nil {
		t.Fatal(err)
	}
	before := len(profiles.Profiles[0].Plugins.MultiPoint.Enabled)
	registry := withPlacement(profiles.Profiles, hostOf{"full": "didn't have free ports on the host"})
	enabled := profiles.Profiles[0].Plugins.MultiPoint.Enabled
	if len(enabled) != before+1 || enabled[before].Name != hostPlacement {
		t.Errorf("enabled are %v, want one more than upstream's", enabled)
	}
	made, err := registry[hostPlacement](t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := made.(*placementPlugin)
	pod := func(name string) *corev1.Pod { return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}} }
	for name, want := range map[string]fwk.Code{"mine": fwk.Success, "left": fwk.UnschedulableAndUnresolvable} {
		if got := p.PreEnqueue(t.Context(), pod(name)).Code(); got != want {
			t.Errorf("PreEnqueue of %s: %v, want %v", name, got, want)
		}
	}
	node := func(name string) fwk.NodeInfo {
		n := framework.NewNodeInfo()
		n.SetNode(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})
		return n
	}
	state := framework.NewCycleState()
	if got := p.Filter(t.Context(), state, pod("mine"), node("free")).Code(); got != fwk.Error {
		t.Errorf("Filter without PreFilter: %v, want an error", got)
	}
	if _, status := p.PreFilter(t.Context(), state, pod("mine"), nil); !status.IsSuccess() {
		t.Fatal(status)
	}
	for _, s := range []fwk.CycleState{state, state.Clone()} {
		if got := p.Filter(t.Context(), s, pod("mine"), node("free")); !got.IsSuccess() {
			t.Errorf("a node without reason: %v", got)
		}
		got := p.Filter(t.Context(), s, pod("mine"), node("full"))
		if got.Code() != fwk.UnschedulableAndUnresolvable || got.Message() != "node(s) didn't have free ports on the host" {
			t.Errorf("a node with a reason: %v %q", got.Code(), got.Message())
		}
	}
}
