// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nodes_test

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"portico.dev/portico/sync/internal/harness"
	"portico.dev/portico/sync/nodes"
	"portico.dev/portico/sync/occupancy"
)

// A scheduler inside sees the resources of a node that pods of others leave,
// and a little later those that they leave then. The capacity is the node's.
func TestRoomOfOthersIsMissing(t *testing.T) {
	foreign := func(name, cpus string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "others", Name: name, ResourceVersion: "1"},
			Spec: corev1.PodSpec{NodeName: "worker-1", Containers: []corev1.Container{{
				Name: "c", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpus)}},
			}}},
		}
	}
	h := harness.New(t, nil, []runtime.Object{hostNode("worker-1"), foreign("a", "1")})
	room, err := occupancy.New(occupancy.Config{Translator: h.Translator, Informers: h.Informers, Host: h.Host, Clock: h.Clock})
	if err != nil {
		t.Fatal(err)
	}
	m := &mirror{fixture: &fixture{Harness: h}}
	if m.mirror, err = nodes.NewMirror(nodes.MirrorConfig{
		Virtual: h.Virtual, Informers: h.Informers, Host: h.Host, Clock: h.Clock, Room: room,
	}); err != nil {
		t.Fatal(err)
	}
	m.Run(room.Observe, m.mirror.Observe, m.mirror.Run)
	left := func(cpus string) func(*corev1.Node) bool {
		return func(n *corev1.Node) bool { return n != nil && n.Status.Allocatable.Cpu().String() == cpus }
	}
	if got := m.node("worker-1", "3 CPUs are left", left("3")).Status.Capacity.Cpu().String(); got != "4" {
		t.Errorf("capacity is %s, want the node's", got)
	}

	pods := m.Host.CoreV1().Pods("others")
	if _, err := pods.Create(t.Context(), foreign("b", "9"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	m.stepUntil("worker-1", left("0"))
	for _, name := range []string{"a", "b"} {
		if err := pods.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	m.stepUntil("worker-1", left("4"))
}

// stepUntil lets time pass until a Node is as wanted.
func (m *mirror) stepUntil(name string, holds func(*corev1.Node) bool) {
	m.T.Helper()
	m.Eventually("node "+name, func(ctx context.Context) (bool, any) {
		m.Clock.Step(time.Second)
		n, err := m.Virtual.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		return err == nil && holds(n), n
	})
}
