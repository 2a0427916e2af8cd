// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"portico.dev/portico/rewrite"
)

// changedBy gives the host object of a virtual one that a tenant changed.
func changedBy[T runtime.Object](t *testing.T, tr *rewrite.Translator, host T, change func(v T)) T {
	t.Helper()
	v := toVirtual(t, tr, host).(T)
	change(v)
	return toHost(t, tr, v, rewrite.Inputs{Host: host}).(T)
}

// A tenant's write to a status shows inside, as in every cluster, and does not
// reach the host. It ends with the host's next value of the same field.
func TestTenantsStatusIsShownUntilTheHostWritesAgain(t *testing.T) {
	tr := mustNew(t, rewrite.Cluster{Name: "c", HostNamespace: "h"})
	ready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue}
	scheduled := corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}
	host := toHost(t, tr, pod("demo", "p", nil), rewrite.Inputs{}).(*corev1.Pod)
	host.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1", Message: "as the host has it", Conditions: []corev1.PodCondition{ready, scheduled}}
	was := *host.Status.DeepCopy()

	unready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "Patched"}
	custom := corev1.PodCondition{Type: "Custom", Status: corev1.ConditionTrue}
	after := changedBy(t, tr, host, func(v *corev1.Pod) {
		v.Status.Message, v.Status.Reason = "Patched", "E2E"
		v.Status.Phase, v.Status.PodIP = corev1.PodFailed, "169.254.169.254"
		v.Status.Conditions = []corev1.PodCondition{unready, scheduled, custom}
	})
	if d := diff(was, after.Status); d != "" {
		t.Errorf("status on the host (-before +after):\n%s", d)
	}
	want := was
	want.Phase, want.Message, want.Reason, want.Conditions = corev1.PodFailed, "Patched", "E2E", []corev1.PodCondition{unready, scheduled, custom}
	if d := diff(want, toVirtual(t, tr, after).(*corev1.Pod).Status); d != "" {
		t.Errorf("status inside (-want +got):\n%s", d)
	}

	// Another update keeps it.
	after = changedBy(t, tr, after, func(v *corev1.Pod) { v.Labels = map[string]string{"a": "b"} })
	if d := diff(want, toVirtual(t, tr, after).(*corev1.Pod).Status); d != "" {
		t.Errorf("status inside after another update (-want +got):\n%s", d)
	}

	// The host writes one field and one condition. The others stay, but not the
	// end of a pod whose kubelet goes on.
	after.Status.Message, after.Status.Conditions[0].Reason = "New", "Kubelet"
	want.Phase, want.Message, want.Conditions = corev1.PodRunning, "New", []corev1.PodCondition{after.Status.Conditions[0], scheduled, custom}
	if d := diff(want, toVirtual(t, tr, after).(*corev1.Pod).Status); d != "" {
		t.Errorf("status inside after the host's write (-want +got):\n%s", d)
	}
	after = changedBy(t, tr, after, func(v *corev1.Pod) { v.Labels = map[string]string{"a": "c"} })
	if d := diff(want, toVirtual(t, tr, after).(*corev1.Pod).Status); d != "" {
		t.Errorf("status inside after the host's write and another update (-want +got):\n%s", d)
	}
}

// A load balancer's address that a tenant writes is shown inside only.
func TestTenantsLoadBalancerStatusIsShown(t *testing.T) {
	tr := mustNew(t, rewrite.Cluster{Name: "c", HostNamespace: "h"})
	v := &corev1.Service{}
	v.Namespace, v.Name = "demo", "s"
	host := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Service)
	ingress := []corev1.LoadBalancerIngress{{IP: "203.0.113.1"}}
	after := changedBy(t, tr, host, func(v *corev1.Service) { v.Status.LoadBalancer.Ingress = ingress })
	if len(after.Status.LoadBalancer.Ingress) > 0 {
		t.Errorf("on the host: %v", after.Status)
	}
	if d := diff(ingress, toVirtual(t, tr, after).(*corev1.Service).Status.LoadBalancer.Ingress); d != "" {
		t.Errorf("inside (-want +got):\n%s", d)
	}
}

// The generation rises with each change of the spec that the tenant makes, one
// that the host does not see included.
func TestGenerationCountsChangesThatTheHostDoesNotSee(t *testing.T) {
	tr := mustNew(t, rewrite.Cluster{Name: "c", HostNamespace: "h"})
	v := pod("demo", "p", nil)
	v.Spec.Containers = []corev1.Container{{Name: "c", Image: "one:1"}}
	host := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod)
	host.Generation, host.Status.ObservedGeneration = 1, 1
	generation := func(want int64) {
		t.Helper()
		v := toVirtual(t, tr, host).(*corev1.Pod)
		if v.Generation != want || v.Status.ObservedGeneration != want {
			t.Errorf("generation %d, observed %d, want %d", v.Generation, v.Status.ObservedGeneration, want)
		}
	}
	generation(1)
	host = changedBy(t, tr, host, func(v *corev1.Pod) {
		v.Spec.Tolerations = append(v.Spec.Tolerations, corev1.Toleration{Key: "operators", Operator: corev1.TolerationOpExists})
	})
	host.Generation = 1 // the host counts for itself
	generation(2)
	host = changedBy(t, tr, host, func(v *corev1.Pod) { v.Labels = map[string]string{"a": "b"} })
	host.Generation = 1
	generation(2)
	host = changedBy(t, tr, host, func(v *corev1.Pod) { v.Spec.Containers[0].Image = "other:1" })
	host.Generation, host.Status.ObservedGeneration = 2, 2
	generation(3)
}
