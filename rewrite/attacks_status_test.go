// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"portico.dev/portico/rewrite"
)

// The attacks here are on a host's conclusions from a status. An administrator
// of a virtual cluster may write every status in it.

func cpu(n string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(n)}
}

// busy is a host pod that has a status of the host in every part.
func busy(t *testing.T, tr *rewrite.Translator) *corev1.Pod {
	t.Helper()
	v := pod("demo", "p", nil)
	v.Spec.Containers = []corev1.Container{{Name: "c", Image: "app:1", Resources: corev1.ResourceRequirements{Requests: cpu("1")}}}
	h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod)
	h.Status = corev1.PodStatus{
		ObservedGeneration: 3, Phase: corev1.PodRunning, Message: "the host's", Reason: "Host", QOSClass: corev1.PodQOSBurstable,
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}, {Type: corev1.PodReady, Status: corev1.ConditionFalse},
		},
		ContainerStatuses:  []corev1.ContainerStatus{{Name: "c", AllocatedResources: cpu("1"), Resources: &corev1.ResourceRequirements{Requests: cpu("1")}}},
		Resize:             corev1.PodResizeStatusInProgress,
		AllocatedResources: cpu("1"),
	}
	return h
}

// TestAttackStatusThatTheHostReads: the quota of the host counts no pod in a
// phase that is the last, and its scheduler counts the smaller of the resources
// that the status says. A tenant who writes them changes nothing on the host.
func TestAttackStatusThatTheHostReads(t *testing.T) {
	tr := mustNew(t, testCluster())
	for name, forge := range map[string]func(*corev1.PodStatus){
		"phase Succeeded":     func(s *corev1.PodStatus) { s.Phase = corev1.PodSucceeded },
		"phase Failed":        func(s *corev1.PodStatus) { s.Phase, s.Reason = corev1.PodFailed, "Evicted" },
		"no phase":            func(s *corev1.PodStatus) { s.Phase = "" },
		"reason and message":  func(s *corev1.PodStatus) { s.Reason, s.Message = "NodeLost", "gone" },
		"container resources": func(s *corev1.PodStatus) { s.ContainerStatuses[0].Resources.Requests = cpu("1m") },
		"container allocated": func(s *corev1.PodStatus) { s.ContainerStatuses[0].AllocatedResources = cpu("1m") },
		"pod allocated":       func(s *corev1.PodStatus) { s.AllocatedResources = cpu("1m") },
		"pod resources":       func(s *corev1.PodStatus) { s.Resources = &corev1.ResourceRequirements{Requests: cpu("1m")} },
		"resize":              func(s *corev1.PodStatus) { s.Resize = corev1.PodResizeStatusInfeasible },
		"class of service":    func(s *corev1.PodStatus) { s.QOSClass = corev1.PodQOSGuaranteed },
		"no containers":       func(s *corev1.PodStatus) { s.ContainerStatuses = nil },
		"other containers": func(s *corev1.PodStatus) {
			s.EphemeralContainerStatuses = []corev1.ContainerStatus{{Name: "c", Ready: true}}
		},
		"observed generation": func(s *corev1.PodStatus) { s.ObservedGeneration = 99 },
		"everything away":     func(s *corev1.PodStatus) { *s = corev1.PodStatus{} },
	} {
		t.Run(name, func(t *testing.T) {
			h := busy(t, tr)
			v := toVirtual(t, tr, h).(*corev1.Pod)
			forge(&v.Status)
			v.Labels = map[string]string{"with": "metadata"}
			got := toHost(t, tr, v, rewrite.Inputs{Host: h}).(*corev1.Pod)
			if d := diff(wire(t, h).Status, got.Status); d != "" {
				t.Errorf("status on the host (-want +got):\n%s", d)
			}
			if got.Labels["with"] != "metadata" {
				t.Errorf("labels on the host: %v, want what was written beside the status", got.Labels)
			}
		})
	}
}

// TestAttackPodThatEndedRunsAgain: the door dials no pod that has ended, since its
// address may be a neighbour's by then. A tenant writes that theirs still runs.
// What they may say is that one has ended, which shows inside alone, and until
// the host says something else.
func TestAttackPodThatEndedRunsAgain(t *testing.T) {
	tr := mustNew(t, testCluster())
	for _, c := range []struct{ host, written, want corev1.PodPhase }{
		{corev1.PodFailed, corev1.PodRunning, corev1.PodFailed},
		{corev1.PodSucceeded, corev1.PodPending, corev1.PodSucceeded},
		{corev1.PodSucceeded, "", corev1.PodSucceeded},
		{corev1.PodPending, corev1.PodRunning, corev1.PodPending},
		{corev1.PodRunning, corev1.PodFailed, corev1.PodFailed},
		{corev1.PodRunning, corev1.PodSucceeded, corev1.PodSucceeded},
	} {
		h := busy(t, tr)
		h.Status.Phase = c.host
		v := toVirtual(t, tr, h).(*corev1.Pod)
		v.Status.Phase = c.written
		got := toHost(t, tr, v, rewrite.Inputs{Host: h}).(*corev1.Pod)
		if got.Status.Phase != c.host {
			t.Errorf("%s over %s: the host has %s", c.written, c.host, got.Status.Phase)
		}
		if shown := toVirtual(t, tr, got).(*corev1.Pod).Status.Phase; shown != c.want {
			t.Errorf("%s over %s: %s is shown, want %s", c.written, c.host, shown, c.want)
		}
		got.Status.ContainerStatuses[0].RestartCount++
		if shown := toVirtual(t, tr, got).(*corev1.Pod).Status.Phase; shown != c.host {
			t.Errorf("%s over %s: after a write of the host %s is shown", c.written, c.host, shown)
		}
	}
}

// TestAttackConditionsOfTheHost: conditions that the components of the host
// write, and the readiness gates that the host itself put on a pod. A tenant
// neither writes nor removes one.
func TestAttackConditionsOfTheHost(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := pod("demo", "p", nil)
	v.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.com/own"}}
	h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod)
	h.Spec.ReadinessGates = append(h.Spec.ReadinessGates, corev1.PodReadinessGate{ConditionType: "lb.host.example/in-target"})
	host := []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable},
		{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: corev1.PodReasonTerminationByKubelet},
		{Type: "host.example/seen", Status: corev1.ConditionFalse},
	}
	for _, c := range []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
		{Type: corev1.PodReady, Status: corev1.ConditionTrue},
		{Type: corev1.ContainersReady, Status: corev1.ConditionTrue},
		{Type: corev1.PodInitialized, Status: corev1.ConditionTrue},
		{Type: corev1.PodResizePending, Status: corev1.ConditionTrue},
		{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI"},
		{Type: "Anything", Status: corev1.ConditionTrue},
		{Type: "not a name/x", Status: corev1.ConditionTrue},
		{Type: "kubernetes.io/later", Status: corev1.ConditionTrue},
		{Type: "node.k8s.io/later", Status: corev1.ConditionTrue},
		{Type: "host.example/seen", Status: corev1.ConditionTrue},
		{Type: "lb.host.example/in-target", Status: corev1.ConditionTrue},
	} {
		t.Run(string(c.Type), func(t *testing.T) {
			h := h.DeepCopy()
			h.Status.Conditions = host
			v := toVirtual(t, tr, h).(*corev1.Pod)
			v.Status.Conditions = []corev1.PodCondition{c} // all others removed
			got := toHost(t, tr, v, rewrite.Inputs{Host: h}).(*corev1.Pod)
			if d := diff(host, got.Status.Conditions); d != "" {
				t.Errorf("conditions on the host (-want +got):\n%s", d)
			}
		})
	}
}

// TestAttackPreemptionByTheTenant: the host's scheduler waits for pods that it
// preempts, which it knows by a condition. A tenant cannot make it wait;
// controllers that evict pods inside of the virtual cluster can still say so.
func TestAttackPreemptionByTheTenant(t *testing.T) {
	tr := mustNew(t, testCluster())
	for reason, passes := range map[string]bool{
		corev1.PodReasonPreemptionByScheduler: false, corev1.PodReasonTerminationByKubelet: false, "Whatever": false,
		"EvictionByEvictionAPI": true, "DeletionByTaintManager": true,
	} {
		t.Run(reason, func(t *testing.T) {
			h := toHost(t, tr, pod("demo", "p", nil), rewrite.Inputs{}).(*corev1.Pod)
			v := toVirtual(t, tr, h).(*corev1.Pod)
			v.Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason}}
			h = toHost(t, tr, v, rewrite.Inputs{Host: h}).(*corev1.Pod)
			if got := len(h.Status.Conditions) == 1; got != passes {
				t.Fatalf("conditions on the host: %v, want that it passes: %t", h.Status.Conditions, passes)
			}
			if !passes {
				return
			}
			// The disruption controller inside resets it.
			v = toVirtual(t, tr, h).(*corev1.Pod)
			v.Status.Conditions[0] = corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionFalse}
			again := toHost(t, tr, v, rewrite.Inputs{Host: h}).(*corev1.Pod)
			if again.Status.Conditions[0].Status != corev1.ConditionFalse {
				t.Errorf("not reset: %v", again.Status.Conditions)
			}
			// The host's own later value belongs to the host.
			h.Status.Conditions[0].Reason = corev1.PodReasonPreemptionByScheduler
			again = toHost(t, tr, v, rewrite.Inputs{Host: h}).(*corev1.Pod)
			if d := diff(h.Status.Conditions, again.Status.Conditions); d != "" {
				t.Errorf("the host's preemption (-want +got):\n%s", d)
			}
		})
	}
}

// TestReadinessGatesAreTheTenants: who has a domain writes, changes and removes
// its conditions, in any order among those of the host.
func TestReadinessGatesAreTheTenants(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := pod("demo", "p", nil)
	v.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.com/gate"}}
	h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod)
	h.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}
	scheduled := h.Status.Conditions[0]
	write := func(conditions, want []corev1.PodCondition) {
		t.Helper()
		v := toVirtual(t, tr, h).(*corev1.Pod)
		v.Status.Conditions = conditions
		h = toHost(t, tr, v, rewrite.Inputs{Host: h}).(*corev1.Pod)
		if d := diff(want, h.Status.Conditions); d != "" {
			t.Fatalf("conditions on the host (-want +got):\n%s", d)
		}
		if d := diff(want, toVirtual(t, tr, h).(*corev1.Pod).Status.Conditions); d != "" {
			t.Fatalf("conditions inside (-want +got):\n%s", d)
		}
	}
	gate := func(status corev1.ConditionStatus) corev1.PodCondition {
		return corev1.PodCondition{Type: "example.com/gate", Status: status, Reason: "Checked", Message: "by a controller", ObservedGeneration: 2}
	}
	other := corev1.PodCondition{Type: "other.example/x", Status: corev1.ConditionTrue}
	write([]corev1.PodCondition{gate(corev1.ConditionTrue), scheduled}, []corev1.PodCondition{scheduled, gate(corev1.ConditionTrue)})
	write([]corev1.PodCondition{other, scheduled, gate(corev1.ConditionFalse)}, []corev1.PodCondition{scheduled, gate(corev1.ConditionFalse), other})
	write([]corev1.PodCondition{other, scheduled}, []corev1.PodCondition{scheduled, other})
	write([]corev1.PodCondition{gate(corev1.ConditionTrue)}, []corev1.PodCondition{scheduled, gate(corev1.ConditionTrue)})

	// A type that the tenant has given up belongs to the next writer.
	h.Status.Conditions = append(h.Status.Conditions, other)
	write([]corev1.PodCondition{gate(corev1.ConditionTrue)}, []corev1.PodCondition{scheduled, gate(corev1.ConditionTrue), other})
}

// TestAttackStatusOfOtherKinds: a tenant writes that a volume claim is bound
// and large, that a load balancer announces an address, and which devices a
// claim has. The host keeps its values; a qualified condition of a Service
// passes.
func TestAttackStatusOfOtherKinds(t *testing.T) {
	tr := mustNew(t, testCluster())
	meta := metav1.ObjectMeta{Namespace: "demo", Name: "x"}
	own := metav1.Condition{Type: "example.com/seen", Status: metav1.ConditionTrue}
	for name, c := range map[string]struct {
		v     runtime.Object
		host  func(h runtime.Object)
		forge func(v runtime.Object)
		want  func(h runtime.Object)
	}{
		"volume claim": {
			v: &corev1.PersistentVolumeClaim{ObjectMeta: meta},
			host: func(h runtime.Object) {
				h.(*corev1.PersistentVolumeClaim).Status = corev1.PersistentVolumeClaimStatus{
					Phase: corev1.ClaimPending, Conditions: []corev1.PersistentVolumeClaimCondition{{Type: corev1.PersistentVolumeClaimResizing, Status: "True"}},
				}
			},
			forge: func(v runtime.Object) {
				class := "fast"
				v.(*corev1.PersistentVolumeClaim).Status = corev1.PersistentVolumeClaimStatus{
					Phase: corev1.ClaimBound, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
					Capacity:           corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Ti")},
					AllocatedResources: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Ti")},
					AllocatedResourceStatuses: map[corev1.ResourceName]corev1.ClaimResourceStatus{
						corev1.ResourceStorage: corev1.PersistentVolumeClaimNodeResizePending,
					},
					CurrentVolumeAttributesClassName: &class, ModifyVolumeStatus: &corev1.ModifyVolumeStatus{TargetVolumeAttributesClassName: class},
					Conditions: []corev1.PersistentVolumeClaimCondition{
						{Type: corev1.PersistentVolumeClaimFileSystemResizePending, Status: "True"}, {Type: "example.com/seen", Status: "True"},
					},
				}
			},
			want: func(runtime.Object) {},
		},
		"service": {
			v: &corev1.Service{ObjectMeta: meta},
			host: func(h runtime.Object) {
				h.(*corev1.Service).Status.Conditions = []metav1.Condition{{Type: corev1.LoadBalancerPortsError, Status: metav1.ConditionTrue}}
			},
			forge: func(v runtime.Object) {
				s := &v.(*corev1.Service).Status
				s.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.53", Hostname: "bank.example"}}
				s.Conditions = []metav1.Condition{own, {Type: "Ready", Status: metav1.ConditionTrue}}
			},
			want: func(h runtime.Object) {
				s := &h.(*corev1.Service).Status
				s.Conditions = append(s.Conditions, own)
			},
		},
		"resource claim": {
			v: &resourcev1.ResourceClaim{ObjectMeta: meta},
			host: func(h runtime.Object) {
				h.(*resourcev1.ResourceClaim).Status.Devices = []resourcev1.AllocatedDeviceStatus{{Driver: "gpu.example", Pool: "p", Device: "gpu-0"}}
			},
			forge: func(v runtime.Object) {
				v.(*resourcev1.ResourceClaim).Status = resourcev1.ResourceClaimStatus{
					Allocation:  &resourcev1.AllocationResult{},
					ReservedFor: []resourcev1.ResourceClaimConsumerReference{{Resource: "pods", Name: "p", UID: "1"}},
					Devices:     []resourcev1.AllocatedDeviceStatus{{Driver: "gpu.example", Pool: "p", Device: "gpu-1", Conditions: []metav1.Condition{own}}},
				}
			},
			want: func(runtime.Object) {},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := toHost(t, tr, c.v, rewrite.Inputs{})
			c.host(h)
			v := toVirtual(t, tr, h)
			c.forge(v)
			got := toHost(t, tr, v, rewrite.Inputs{Host: h})
			c.want(h)
			if d := diff(plain(t, h), plain(t, got)); d != "" {
				t.Errorf("on the host (-want +got):\n%s", d)
			}
		})
	}
}

// TestAttackStatusOfANewObject: an object is created with a status. The host
// gets none of it.
func TestAttackStatusOfANewObject(t *testing.T) {
	tr := mustNew(t, testCluster())
	meta := metav1.ObjectMeta{Namespace: "demo", Name: "x"}
	for _, v := range []runtime.Object{
		&corev1.Pod{ObjectMeta: meta, Status: corev1.PodStatus{Phase: corev1.PodSucceeded, Conditions: []corev1.PodCondition{{Type: "example.com/gate"}}}},
		&corev1.Service{ObjectMeta: meta, Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "192.0.2.53"}}}}},
		&corev1.PersistentVolumeClaim{ObjectMeta: meta, Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound}},
		&resourcev1.ResourceClaim{ObjectMeta: meta, Status: resourcev1.ResourceClaimStatus{Allocation: &resourcev1.AllocationResult{}}},
	} {
		t.Run(fmt.Sprintf("%T", v), func(t *testing.T) {
			h := toHost(t, tr, v, rewrite.Inputs{})
			empty := h.DeepCopyObject()
			emptyStatus(empty)
			if d := diff(empty, h); d != "" {
				t.Errorf("on the host (-want +got):\n%s", d)
			}
		})
	}
}

func emptyStatus(o runtime.Object) {
	switch o := o.(type) {
	case *corev1.Pod:
		o.Status = corev1.PodStatus{}
	case *corev1.Service:
		o.Status = corev1.ServiceStatus{}
	case *corev1.PersistentVolumeClaim:
		o.Status = corev1.PersistentVolumeClaimStatus{}
	case *resourcev1.ResourceClaim:
		o.Status = resourcev1.ResourceClaimStatus{}
	}
}
