// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package occupancy

import (
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
)

const (
	firstWait, lastWait = 10 * time.Second, 5 * time.Minute
	// forgetAfter is how long after the last wait a node counts as one that never
	// refused a pod.
	forgetAfter = 10 * time.Minute
)

// refusals are the reasons that a kubelet gives for a pod that it does not run,
// although it was bound to its node (pkg/kubelet/lifecycle), besides those that
// begin with outOf.
var refusals = []string{
	"NodeAffinity", "NodePorts", "NodeName", "TaintToleration", "UnexpectedAdmissionError", "TopologyAffinityError",
	"PodOSSelectorNodeLabelDoesNotMatch", "PodOSNotSupported", "SupplementalGroupsPolicyNotSupported", "AppArmor",
}

const outOf = "OutOf"

// refused remembers which nodes have refused pods of this cluster, and until when
// they get no others. It is in memory only: the waits begin again after a restart.
type refused struct {
	clock clock.PassiveClock
	mu    sync.Mutex
	nodes map[string]refusal
}

type refusal struct {
	wait  time.Duration
	until time.Time
}

func newRefused(c clock.PassiveClock) *refused {
	return &refused{clock: c, nodes: map[string]refusal{}}
}

// look notes a pod that has just been refused. All that were bound before the
// first of them was seen count once.
func (r *refused) look(old, pod *corev1.Pod) {
	if pod.Spec.NodeName == "" || isRefused(old) || !isRefused(pod) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	for node, last := range r.nodes {
		if now.Sub(last.until) > forgetAfter {
			delete(r.nodes, node)
		}
	}
	last, again := r.nodes[pod.Spec.NodeName]
	switch {
	case !again:
		last.wait = firstWait
	case now.Before(last.until):
		return
	default:
		last.wait = min(2*last.wait, lastWait)
	}
	last.until = now.Add(last.wait)
	r.nodes[pod.Spec.NodeName] = last
}

// remaining returns how long a node gets no pods.
func (r *refused) remaining(node string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(0, r.nodes[node].until.Sub(r.clock.Now()))
}

func isRefused(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed &&
		(strings.HasPrefix(pod.Status.Reason, outOf) || slices.Contains(refusals, pod.Status.Reason))
}
