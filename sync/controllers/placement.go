// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	fwk "k8s.io/kube-scheduler/framework"
	schedulerconfig "k8s.io/kubernetes/pkg/scheduler/apis/config"
	schedulerruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
)

// Placement has the facts about the host that a scheduler inside a virtual
// cluster needs and does not find on virtual Nodes. Without it, the host would
// refuse the binding, and the scheduler would choose the same node again.
type Placement interface {
	// LeftToHost reports whether the host's scheduler places a pod, although it
	// names the one inside.
	LeftToHost(pod *corev1.Pod) bool
	// Refuses returns a function that says why the host would refuse a pod on a
	// node, in words that follow "node(s)", or "" if it would not.
	Refuses(pod *corev1.Pod) func(node string) string
}

const hostPlacement = "HostPlacement"

// withPlacement adds the plugin that asks p to every profile.
func withPlacement(profiles []schedulerconfig.KubeSchedulerProfile, p Placement) schedulerruntime.Registry {
	for i := range profiles {
		enabled := &profiles[i].Plugins.MultiPoint.Enabled
		*enabled = append(*enabled, schedulerconfig.Plugin{Name: hostPlacement})
	}
	return schedulerruntime.Registry{hostPlacement: func(context.Context, runtime.Object, fwk.Handle) (fwk.Plugin, error) {
		return &placementPlugin{p}, nil
	}}
}

// placementPlugin keeps pods off nodes on which the host would refuse them.
type placementPlugin struct{ Placement }

var (
	_ fwk.PreEnqueuePlugin  = &placementPlugin{}
	_ fwk.PreFilterPlugin   = &placementPlugin{}
	_ fwk.FilterPlugin      = &placementPlugin{}
	_ fwk.EnqueueExtensions = &placementPlugin{}
)

// Name implements Plugin.
func (*placementPlugin) Name() string { return hostPlacement }

// EventsToRegister names the changes after which the host may say something else.
// One that no virtual Node shows is found by the periodic look at all pods.
func (*placementPlugin) EventsToRegister(context.Context) ([]fwk.ClusterEventWithHint, error) {
	return []fwk.ClusterEventWithHint{
		{Event: fwk.ClusterEvent{Resource: fwk.Node, ActionType: fwk.Add | fwk.UpdateNodeTaint | fwk.UpdateNodeAllocatable}},
	}, nil
}

// PreEnqueue holds back pods that are the host's to place.
func (p *placementPlugin) PreEnqueue(_ context.Context, pod *corev1.Pod) *fwk.Status {
	if p.LeftToHost(pod) {
		return fwk.NewStatus(fwk.UnschedulableAndUnresolvable, "left to the scheduler of the host")
	}
	return nil
}

// refuses is the answer for one pod, for the time of one attempt.
type refuses func(node string) string

// Clone implements StateData. Pods that are added or removed in a trial change
// nothing about it.
func (r refuses) Clone() fwk.StateData { return r }

// PreFilter asks about the pod.
func (p *placementPlugin) PreFilter(_ context.Context, state fwk.CycleState, pod *corev1.Pod, _ []fwk.NodeInfo) (*fwk.PreFilterResult, *fwk.Status) {
	state.Write(hostPlacement, refuses(p.Refuses(pod)))
	return nil, nil
}

// PreFilterExtensions implements PreFilterPlugin.
func (*placementPlugin) PreFilterExtensions() fwk.PreFilterExtensions { return nil }

// Filter leaves out a node on which the host would refuse the pod. No preemption
// inside helps there.
func (*placementPlugin) Filter(_ context.Context, state fwk.CycleState, _ *corev1.Pod, node fwk.NodeInfo) *fwk.Status {
	data, err := state.Read(hostPlacement)
	if err != nil {
		return fwk.AsStatus(err)
	}
	if why := data.(refuses)(node.Node().Name); why != "" {
		return fwk.NewStatus(fwk.UnschedulableAndUnresolvable, "node(s) "+why)
	}
	return nil
}
