// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nodes_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"portico.dev/portico/sync/internal/harness"
	"portico.dev/portico/sync/nodes"
)

// fixture is a running Controller or Mirror.
type fixture struct {
	*harness.Harness
	nodes *nodes.Controller // nil for a Mirror
}

func start(t *testing.T, objects ...runtime.Object) *fixture {
	t.Helper()
	h := &fixture{Harness: harness.New(t, objects, nil)}
	c, err := nodes.New(nodes.Config{
		Virtual: h.Virtual, Informers: h.Informers, Clock: h.Clock,
		Shape: nodes.DefaultShape("v1.37.2", "amd64"), Heartbeat: 5 * time.Minute, Linger: 30 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.nodes = c
	h.Run(c.Run)
	return h
}

func pod(name, node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.PodSpec{NodeName: node},
		Status:     corev1.PodStatus{HostIP: "10.0.0.7"},
	}
}

func (h *fixture) createPod(p *corev1.Pod) {
	h.T.Helper()
	if _, err := h.Virtual.CoreV1().Pods(p.Namespace).Create(h.T.Context(), p, metav1.CreateOptions{}); err != nil {
		h.T.Fatal(err)
	}
}

func (h *fixture) deletePod(name string) {
	h.T.Helper()
	if err := h.Virtual.CoreV1().Pods("default").Delete(h.T.Context(), name, metav1.DeleteOptions{}); err != nil {
		h.T.Fatal(err)
	}
}

// node waits until the Node satisfies want; a nil Node is one that does not exist.
func (h *fixture) node(name, what string, want func(*corev1.Node) bool) *corev1.Node {
	h.T.Helper()
	var last *corev1.Node
	h.Eventually(fmt.Sprintf("node %q: %s", name, what), func(ctx context.Context) (bool, any) {
		node, err := h.Virtual.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			node, err = nil, nil
		}
		last = node
		return err == nil && want(node), node
	})
	return last
}

func ready(n *corev1.Node) bool {
	for _, c := range condition(n) {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

func condition(n *corev1.Node) []corev1.NodeCondition {
	if n == nil {
		return nil
	}
	return n.Status.Conditions
}

func TestNodeAppearsWithItsFirstPod(t *testing.T) {
	h := start(t)
	h.createPod(pod("a", "worker-1"))
	n := h.node("worker-1", "a ready node", ready)

	if got := n.Labels[corev1.LabelHostname]; got != "worker-1" {
		t.Errorf("hostname label is %q", got)
	}
	if n.Spec.ProviderID != "" || len(n.Spec.Taints) != 0 {
		t.Errorf("a made-up node has a provider or taints: %+v", n.Spec)
	}
	want := []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.7"}, {Type: corev1.NodeHostName, Address: "worker-1"}}
	if diff := cmp.Diff(want, n.Status.Addresses); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	for _, r := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourcePods} {
		if q := n.Status.Allocatable[r]; q.IsZero() {
			t.Errorf("allocatable %s is zero", r)
		}
	}
}

func TestUnscheduledPodMakesNoNode(t *testing.T) {
	h := start(t, pod("pending", ""))
	h.createPod(pod("a", "worker-1"))
	h.node("worker-1", "a ready node", ready)
	list, err := h.Virtual.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("got %d nodes, want 1 (%v)", len(list.Items), err)
	}
}

// A tenant makes a Node under the name of a host node, to put a pod there. It
// says nothing about the host's.
func TestAttackNodeOfTheTenantIsVouchedFor(t *testing.T) {
	h := start(t, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "forged", Labels: map[string]string{nodes.LabelFake: "true"}}})
	h.createPod(pod("a", "worker-1"))
	h.node("worker-1", "the node in use", exists)
	for name, want := range map[string]bool{"worker-1": true, "worker-2": false, "forged": false} {
		if got := h.nodes.Shown(name); got != want {
			t.Errorf("Shown(%q) is %v", name, got)
		}
	}
}

func TestNodeOutlivesItsLastPodByLinger(t *testing.T) {
	h := start(t, pod("a", "worker-1"))
	h.node("worker-1", "a ready node", ready)
	h.deletePod("a")

	// Time stands still, so the node must be there however long it takes to
	// handle the next events.
	h.createPod(pod("marker", "worker-2"))
	h.node("worker-2", "a ready node", ready)
	h.node("worker-1", "the node without pods", ready)
	h.node("worker-1", "no node", func(n *corev1.Node) bool {
		h.Clock.Step(31 * time.Second)
		return n == nil
	})
}

func TestNodeStaysWhenAPodReturns(t *testing.T) {
	h := start(t, pod("a", "worker-1"))
	first := h.node("worker-1", "a ready node", ready)
	h.deletePod("a")
	h.createPod(pod("b", "worker-1"))
	h.node("worker-1", "a renewed heartbeat", func(n *corev1.Node) bool {
		h.Clock.Step(time.Minute) // past the lingering, then past the heartbeat
		return n != nil && heartbeat(n).After(heartbeat(first))
	})
}

func TestHeartbeatIsRenewedWithoutPodEvents(t *testing.T) {
	h := start(t, pod("a", "worker-1"))
	first := h.node("worker-1", "a ready node", ready)
	second := h.node("worker-1", "a renewed heartbeat", func(n *corev1.Node) bool {
		h.Clock.Step(time.Minute)
		return n != nil && heartbeat(n).After(heartbeat(first))
	})
	if !second.Status.Conditions[0].LastTransitionTime.Equal(&first.Status.Conditions[0].LastTransitionTime) {
		t.Error("a heartbeat moved the transition time")
	}
}

// Pods that come and go must not turn into writes of the Node.
func TestPodsDoNotCauseWrites(t *testing.T) {
	h := start(t, pod("a", "worker-1"))
	h.node("worker-1", "a ready node", ready)
	for _, name := range []string{"b", "c", "d"} {
		h.createPod(pod(name, "worker-1"))
	}
	h.createPod(pod("marker", "worker-2")) // handled after the others were put into the queue
	h.node("worker-2", "a ready node", ready)

	patches := 0
	for _, a := range h.Virtual.Actions() {
		if a.Matches("patch", "nodes/status") {
			patches++
		}
	}
	if patches != 2 {
		t.Errorf("%d status writes for two nodes", patches)
	}
}

func TestTenantsOwnNodeIsLeftAlone(t *testing.T) {
	own := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-1"}}
	h := start(t, own, pod("a", "worker-1"), pod("b", "worker-2"))
	h.node("worker-2", "a ready node", ready)
	h.deletePod("a")
	h.Clock.Step(time.Hour)
	n := h.node("worker-1", "the tenant's node", func(n *corev1.Node) bool { return n != nil })
	if len(n.Status.Conditions) != 0 || len(n.Labels) != 0 {
		t.Errorf("the tenant's node was changed: %+v", n)
	}
}

func TestTenantsTaintsSurvive(t *testing.T) {
	h := start(t, pod("a", "worker-1"))
	n := h.node("worker-1", "a ready node", ready)
	n = n.DeepCopy()
	n.Spec.Taints = []corev1.Taint{{Key: "mine", Effect: corev1.TaintEffectNoSchedule}}
	n.Labels["mine"] = "yes"
	if _, err := h.Virtual.CoreV1().Nodes().Update(t.Context(), n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	got := h.node("worker-1", "a renewed heartbeat", func(m *corev1.Node) bool {
		h.Clock.Step(time.Minute)
		return m != nil && heartbeat(m).After(heartbeat(n))
	})
	if len(got.Spec.Taints) != 1 || got.Labels["mine"] != "yes" {
		t.Errorf("the tenant's taint or label is gone: %+v", got)
	}
}

func TestDeletedNodeComesBackWhileInUse(t *testing.T) {
	h := start(t, pod("a", "worker-1"))
	h.node("worker-1", "a ready node", ready)
	if err := h.Virtual.CoreV1().Nodes().Delete(t.Context(), "worker-1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.node("worker-1", "a ready node again", ready)
}

func heartbeat(n *corev1.Node) time.Time {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.LastHeartbeatTime.Time
		}
	}
	return time.Time{}
}
