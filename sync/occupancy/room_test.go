// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package occupancy_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/harness"
	"portico.dev/portico/sync/occupancy"
)

const node = "node-1"

// list makes a list of pairs of names and quantities.
func list(pairs ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		out[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return out
}

// strs is a list that can be compared.
func strs(l corev1.ResourceList) map[string]string {
	out := map[string]string{}
	for name, q := range l {
		out[string(name)] = q.String()
	}
	return out
}

// podOn is a pod of somebody else on the node.
func podOn(name string, requests corev1.ResourceList, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "others", Name: name, UID: types.UID(name), ResourceVersion: "1"},
		Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{
			Name: "c", Image: "secret.example/image:1", Env: []corev1.EnvVar{{Name: "TOKEN", Value: "secret"}},
			Resources: corev1.ResourceRequirements{Requests: requests},
		}}},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func own(p *corev1.Pod) {
	p.Namespace, p.Labels = harness.HostNamespace, map[string]string{rewrite.LabelCluster: harness.Cluster}
}

func hostPort(port int32, ip string, protocol corev1.Protocol) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Ports = append(p.Spec.Containers[0].Ports, corev1.ContainerPort{ContainerPort: 1, HostPort: port, HostIP: ip, Protocol: protocol})
	}
}

func start(t *testing.T, virtual []runtime.Object, host ...runtime.Object) (*occupancy.Room, *harness.Harness) {
	t.Helper()
	h := harness.New(t, virtual, host)
	room, err := occupancy.New(occupancy.Config{Translator: h.Translator, Informers: h.Informers, Host: h.Host, Clock: h.Clock})
	if err != nil {
		t.Fatal(err)
	}
	if err := room.Fits(nodeWith(list("pods", "1")), podOn("p", nil)); err == nil || !strings.Contains(err.Error(), "not known yet") {
		t.Errorf("before all pods are known: %v", err)
	}
	h.Informers.Start(t.Context().Done())
	h.Run(room.Observe)
	eventually(h, "pods known", func() bool {
		err := room.Fits(nodeWith(list("pods", "1000")), podOn("p", nil))
		return err == nil || !strings.Contains(err.Error(), "not known yet")
	})
	return room, h
}

func nodeWith(allocatable corev1.ResourceList) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}, Status: corev1.NodeStatus{Allocatable: allocatable}}
}

func eventually(h *harness.Harness, what string, holds func() bool) {
	h.T.Helper()
	h.Eventually(what, func(context.Context) (bool, any) { return holds(), nil })
}

// A virtual node shows the room that pods of others leave: nothing below zero,
// with each resource and the count of pods, and with the sums that schedulers
// make.
func TestOthersLeaveRoom(t *testing.T) {
	room, _ := start(t, nil,
		podOn("plain", list("cpu", "1500m", "memory", "1Gi", "example.com/gpu", "3")),
		podOn("init", list("cpu", "100m"), func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "i", Resources: corev1.ResourceRequirements{Requests: list("cpu", "1")}}}
		}),
		podOn("sidecar", list("cpu", "100m"), func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{
				Name: "s", RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways),
				Resources: corev1.ResourceRequirements{Requests: list("cpu", "200m")},
			}}
		}),
		podOn("overhead", nil, func(p *corev1.Pod) { p.Spec.Overhead = list("memory", "512Mi") }),
		podOn("whole", list("cpu", "10"), func(p *corev1.Pod) {
			p.Spec.Resources = &corev1.ResourceRequirements{Requests: list("cpu", "700m")}
		}),
		podOn("elsewhere", list("cpu", "9"), func(p *corev1.Pod) { p.Spec.NodeName = "node-2" }),
		podOn("ours", list("cpu", "9"), own),
		podOn("namesake", list("cpu", "500m"), own, func(p *corev1.Pod) { p.Namespace = "team-b" }),
		podOn("neighbour", nil, func(p *corev1.Pod) { p.Namespace = harness.HostNamespace }),
	)
	got := room.Left(node, list("cpu", "8", "memory", "4Gi", "pods", "110", "example.com/gpu", "2", "ephemeral-storage", "1Gi"))
	want := map[string]string{
		"cpu":    "4", // 8 - 1.5 - 1 - 0.3 - 0.7 - 0.5
		"memory": "2560Mi", "pods": "103", "example.com/gpu": "0", "ephemeral-storage": "1Gi",
	}
	if d := cmp.Diff(want, strs(got)); d != "" {
		t.Errorf("left (-want +got):\n%s", d)
	}
}

// A binding is refused for which the host has no room, in words that name nothing
// of others.
func TestFits(t *testing.T) {
	gone := func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }
	room, _ := start(t, nil,
		podOn("foreign", list("cpu", "2", "hugepages-2Mi", "2Mi"), hostPort(80, "", ""), hostPort(53, "10.0.0.1", corev1.ProtocolUDP)),
		podOn("ending", list("cpu", "1"), gone),
		podOn("ours", list("cpu", "1"), own),
		podOn("ours-ending", list("cpu", "4"), own, gone),
	)
	all := nodeWith(list("cpu", "8", "memory", "4Gi", "pods", "5"))
	for name, c := range map[string]struct {
		node  *corev1.Node
		pod   *corev1.Pod
		wants string
	}{
		"room for it":                                {all, podOn("p", list("cpu", "4")), ""},
		"one too many CPUs":                          {all, podOn("p", list("cpu", "4001m")), `node "node-1" has not enough room: cpu`},
		"the pod itself does not count":              {all, podOn("ours", list("cpu", "5")), ""},
		"two resources":                              {all, podOn("p", list("cpu", "5", "memory", "5Gi")), "not enough room: cpu, memory"},
		"no place left":                              {nodeWith(list("pods", "3")), podOn("p", nil), "not enough room: pods"},
		"the last place":                             {nodeWith(list("pods", "4")), podOn("p", nil), ""},
		"a resource of the tenant's node only":       {all, podOn("p", list("example.com/foo", "1")), ""},
		"a resource of Kubernetes that is not there": {all, podOn("p", list("hugepages-2Mi", "2Mi")), "not enough room: hugepages-2Mi"},
		"a port that is taken":                       {all, podOn("p", nil, hostPort(80, "10.0.0.2", corev1.ProtocolTCP)), `port 80/TCP of node "node-1" is taken`},
		"the port of another protocol":               {all, podOn("p", nil, hostPort(80, "", corev1.ProtocolUDP)), ""},
		"the port of another address":                {all, podOn("p", nil, hostPort(53, "10.0.0.2", corev1.ProtocolUDP)), ""},
		"the port of all addresses":                  {all, podOn("p", nil, hostPort(53, "0.0.0.0", corev1.ProtocolUDP)), "port 53/UDP"},
	} {
		t.Run(name, func(t *testing.T) {
			err := room.Fits(c.node, c.pod)
			switch {
			case c.wants == "" && err != nil, c.wants != "" && (err == nil || !strings.Contains(err.Error(), c.wants)):
				t.Errorf("got %v, want %q", err, c.wants)
			case err != nil && (strings.Contains(err.Error(), "foreign") || strings.Contains(err.Error(), "others")):
				t.Errorf("%v names a pod of others", err)
			}
		})
	}
}

// The scheduler inside leaves out nodes for reasons that virtual Nodes do not show.
// Ports of the cluster's own pods it knows.
func TestRefuses(t *testing.T) {
	room, _ := start(t, nil,
		podOn("foreign", nil, hostPort(80, "", "")),
		podOn("ours", nil, own, hostPort(81, "", "")),
	)
	for name, c := range map[string]struct {
		pod  *corev1.Pod
		node string
		want string
	}{
		"no port":                 {podOn("p", nil), node, ""},
		"a port of another's pod": {podOn("p", nil, hostPort(80, "", "")), node, "didn't have free ports on the host"},
		"on another node":         {podOn("p", nil, hostPort(80, "", "")), "node-2", ""},
		"a port of an own pod":    {podOn("p", nil, hostPort(81, "", "")), node, ""},
	} {
		if got := room.Refuses(c.pod)(c.node); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A ReplicaSet makes a refused pod again at once, and a scheduler would put it on
// the same node for as long as it does not know why the kubelet refuses it.
func TestRefusedPodsDoNotBecomeALoop(t *testing.T) {
	virtual := func(name, reason string, phase corev1.PodPhase) *corev1.Pod {
		return podOn(name, nil, func(p *corev1.Pod) { p.Namespace, p.Status.Phase, p.Status.Reason = "default", phase, reason })
	}
	room, h := start(t, []runtime.Object{virtual("old", "OutOfcpu", corev1.PodFailed)})
	n := nodeWith(list("pods", "10"))
	fits := func() bool { return room.Fits(n, podOn("p", nil)) == nil }
	if !fits() {
		t.Fatal("a pod that was refused before the start counts")
	}
	pods := h.Virtual.CoreV1().Pods("default")
	fail := func(name, reason string) {
		t.Helper()
		if _, err := pods.Create(t.Context(), virtual(name, "", corev1.PodPending), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(h, name+" is known", func() bool {
			_, err := h.Informers.Core().V1().Pods().Lister().Pods("default").Get(name)
			return err == nil
		})
		if _, err := pods.Update(t.Context(), virtual(name, reason, corev1.PodFailed), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	fail("evicted", "Evicted")
	fail("first", "OutOfcpu")
	eventually(h, "the node waits", func() bool { return !fits() })
	if err := room.Fits(n, podOn("p", nil)); !strings.Contains(err.Error(), "gets the next in 10s") {
		t.Errorf("got %v, want the time of the next try", err)
	}
	if got := room.Refuses(podOn("p", nil))(node); got != "had refused a pod of this cluster a moment ago" {
		t.Errorf("the scheduler is told %q", got)
	}
	h.Clock.Step(11 * time.Second)
	if !fits() {
		t.Error("the wait does not end")
	}
	fail("second", "NodeAffinity")
	eventually(h, "the node waits again", func() bool { return !fits() })
	h.Clock.Step(11 * time.Second)
	if fits() {
		t.Error("the second wait is no longer than the first")
	}
	if err := room.Fits(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-2"}, Status: n.Status}, podOn("p", nil)); err != nil {
		t.Errorf("another node: %v", err)
	}
	h.Clock.Step(10 * time.Minute)
	h.Clock.Step(10 * time.Minute)
	fail("third", "OutOfpods")
	eventually(h, "the node waits after a long time", func() bool { return !fits() })
	if err := room.Fits(n, podOn("p", nil)); !strings.Contains(err.Error(), "gets the next in 10s") {
		t.Errorf("after a long time without refusals: %v, want the first wait", err)
	}
}
