// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/rewrite"
)

const longPod = "a-pod-whose-name-leaves-no-room-for-a-namespace-and-a-cluster"

func claimOf(class string) *resourcev1.ResourceClaim {
	return &resourcev1.ResourceClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "cards"},
		Spec: resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{
			{Name: "one", Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: class}},
		}}},
	}
}

func podWithClaims() *corev1.Pod {
	v := pod("demo", "web", nil)
	v.Spec.ResourceClaims = []corev1.PodResourceClaim{
		{Name: "shared", ResourceClaimName: ptr("cards")}, {Name: "gpu", ResourceClaimTemplateName: ptr("one-gpu")},
	}
	v.Spec.Containers = []corev1.Container{{Name: "app", Resources: corev1.ResourceRequirements{Claims: []corev1.ResourceClaim{{Name: "gpu"}}}}}
	return v
}

// TestClaimsAreDecidedOnCreate: a pod keeps the claims that it got when it was
// made, also after the configuration has changed.
func TestClaimsAreDecidedOnCreate(t *testing.T) {
	on := testCluster()
	off := testCluster()
	off.ResourceClaims = false
	for name, c := range map[string]struct {
		made, now rewrite.Cluster
		claims    int
	}{"on": {on, off, 2}, "off": {off, on, 0}} {
		t.Run(name, func(t *testing.T) {
			v := podWithClaims()
			h := toHost(t, mustNew(t, c.made), v, rewrite.Inputs{}).(*corev1.Pod)
			now := mustNew(t, c.now)
			seen := toVirtual(t, now, h).(*corev1.Pod)
			if d := diff(wire(t, v), seen); d != "" {
				t.Errorf("turned back (-want +got):\n%s", d)
			}
			seen.Labels = map[string]string{"new": "1"}
			seen.Spec.Containers[0].Image = "app:2"
			again := toHost(t, now, seen, rewrite.Inputs{Host: h}).(*corev1.Pod)
			for when, p := range map[string]*corev1.Pod{"new": h, "updated": again} {
				if len(p.Spec.ResourceClaims) != c.claims || len(p.Spec.Containers[0].Resources.Claims) != c.claims/2 {
					t.Errorf("%s: the host pod has the claims %v, its container %v", when, p.Spec.ResourceClaims, p.Spec.Containers[0].Resources.Claims)
				}
			}
			if d := diff(seen, toVirtual(t, now, again)); d != "" {
				t.Errorf("updated, turned back (-want +got):\n%s", d)
			}
		})
	}
}

// TestClaimStatuses: the claims made for a pod go through in both directions,
// whichever side names one first.
func TestClaimStatuses(t *testing.T) {
	tr := mustNew(t, testCluster())
	h := toHost(t, tr, podWithClaims(), rewrite.Inputs{}).(*corev1.Pod)
	generated := "web-gpu-7xk2p"

	v := toVirtual(t, tr, h).(*corev1.Pod)
	v.Status.ResourceClaimStatuses = []corev1.PodResourceClaimStatus{{Name: "gpu", ResourceClaimName: &generated}}
	h = toHost(t, tr, v, rewrite.Inputs{Host: h}).(*corev1.Pod)
	if got := h.Status.ResourceClaimStatuses; len(got) != 1 || *got[0].ResourceClaimName != tr.Name("demo", generated) {
		t.Errorf("on the host: %v", got)
	}
	if d := diff(v, toVirtual(t, tr, h)); d != "" {
		t.Errorf("turned back (-want +got):\n%s", d)
	}

	h = toHost(t, tr, podWithClaims(), rewrite.Inputs{}).(*corev1.Pod)
	for hostName, want := range map[string]int{
		tr.Name("demo", generated):            1,
		tr.Name("demo", longPod+"-gpu-7xk2p"): 0, // until the tenant's controller says it
		tr.Name("other", generated):           0,
		"somebody-elses":                      0,
	} {
		h.Status.ResourceClaimStatuses = []corev1.PodResourceClaimStatus{{Name: "gpu", ResourceClaimName: &hostName}}
		got := toVirtual(t, tr, h).(*corev1.Pod).Status.ResourceClaimStatuses
		if len(got) != want || want == 1 && *got[0].ResourceClaimName != generated {
			t.Errorf("named %s by the host: shown %v", hostName, got)
		}
	}
}

// TestReservedForIsInVirtualNames: the tenant reads its own pods, and nothing
// else that the host has reserved a claim for.
func TestReservedForIsInVirtualNames(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := claimOf("app")
	v.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: longPod, UID: "owner", Controller: ptr(true)}}
	h := toHost(t, tr, v, testInputs()).(*resourcev1.ResourceClaim)
	reserve := func(group, resource, name string, uid types.UID) resourcev1.ResourceClaimConsumerReference {
		return resourcev1.ResourceClaimConsumerReference{APIGroup: group, Resource: resource, Name: name, UID: uid}
	}
	h.Status.ReservedFor = []resourcev1.ResourceClaimConsumerReference{
		reserve("", "pods", tr.Name("demo", "web"), "1"),
		reserve("", "pods", tr.Name("demo", longPod), "owner"),
		reserve("", "pods", tr.Name("demo", longPod+"-2"), "2"),
		reserve("", "pods", tr.Name("other", "web"), "3"),
		reserve("", "pods", "of-the-host", "4"),
		reserve("scheduling.k8s.io", "podgroups", tr.Name("demo", "group"), "5"),
	}
	got := toVirtual(t, tr, h).(*resourcev1.ResourceClaim).Status.ReservedFor
	want := []resourcev1.ResourceClaimConsumerReference{reserve("", "pods", "web", "1"), reserve("", "pods", longPod, "owner")}
	if d := diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestClaimsOfTheHostAreHidden: where the host serves extended resources or
// parts of a node by claims, it makes them for host pods, under host names.
func TestClaimsOfTheHostAreHidden(t *testing.T) {
	tr := mustNew(t, testCluster())
	h := toHost(t, tr, pod("demo", "web", nil), rewrite.Inputs{}).(*corev1.Pod)
	h.Status.ExtendedResourceClaimStatus = &corev1.PodExtendedResourceClaimStatus{ResourceClaimName: h.Name + "-extended-resources-7xk2p"}
	h.Status.NodeAllocatableResourceClaimStatuses = []corev1.NodeAllocatableResourceClaimStatus{{ResourceClaimName: h.Name + "-cpu-7xk2p"}}
	v := toVirtual(t, tr, h).(*corev1.Pod)
	if v.Status.ExtendedResourceClaimStatus != nil || v.Status.NodeAllocatableResourceClaimStatuses != nil {
		t.Errorf("the tenant reads %+v", v.Status)
	}
	v.Status.Conditions = []corev1.PodCondition{{Type: "example.com/gate", Status: corev1.ConditionTrue}}
	v.Status.ExtendedResourceClaimStatus = &corev1.PodExtendedResourceClaimStatus{ResourceClaimName: "forged"}
	again := toHost(t, tr, v, rewrite.Inputs{Host: h}).(*corev1.Pod)
	h.Status.Conditions = v.Status.Conditions
	if d := diff(h.Status, again.Status); d != "" {
		t.Errorf("on the host after a write (-want +got):\n%s", d)
	}
}

// TestClaimsInTexts: the claims and classes in a host's texts.
func TestClaimsInTexts(t *testing.T) {
	tr := mustNew(t, testCluster())
	for _, name := range []string{"web", longPod} {
		hostPod := tr.Name("demo", name)
		known := map[string]rewrite.VirtualRef{hostPod: {Namespace: "demo", Name: name}}
		extended := (hostPod + "-extended-resources-")
		extended = extended[:min(58, len(extended))] + "7xk2p"
		said := "request one: device class gpu.example" + rewrite.AbsentClass + " does not exist; NodePrepareResources failed for ResourceClaim " + extended + ": busy"
		want := "request one: device class gpu.example does not exist; NodePrepareResources failed for ResourceClaim " + name + "-extended-resources-7xk2p: busy"
		if got := tr.TextToVirtual(said, known); got != want {
			t.Errorf("the tenant reads %q, want %q", got, want)
		}
	}
}

// TestAttackClassThatIsNotOffered: a claim does not reach a class of the host by
// its name alone.
func TestAttackClassThatIsNotOffered(t *testing.T) {
	tr := mustNew(t, testCluster())
	for _, class := range []string{"infiniband", "infiniband" + rewrite.AbsentClass} {
		v := claimOf(class)
		h := toHost(t, tr, v, testInputs()).(*resourcev1.ResourceClaim)
		if got := h.Spec.Devices.Requests[0].Exactly.DeviceClassName; got != class+rewrite.AbsentClass {
			t.Errorf("the host claim asks for %q", got)
		}
		if d := diff(wire(t, v), toVirtual(t, tr, h)); d != "" {
			t.Errorf("turned back (-want +got):\n%s", d)
		}
	}
}

// TestAttackAdminAccess: a resource claim asks for administrator access to a
// device in use. It is refused.
func TestAttackAdminAccess(t *testing.T) {
	v := claimOf("app")
	v.Spec.Devices.Requests[0].Exactly.AdminAccess = ptr(true)
	if _, err := mustNew(t, testCluster()).ResourceClaimToHost(v, testInputs()); !apierrors.IsInvalid(err) {
		t.Errorf("got %v, want it refused", err)
	}
}

// TestAttackClaimOwnedByAPodOfSomebodyElse: the host's controller would give a
// pod any claim that names it as its owner. A claim that names a pod which does
// not exist does not name it on the host.
func TestAttackClaimOwnedByAPodOfSomebodyElse(t *testing.T) {
	tr := mustNew(t, testCluster())
	in := testInputs()
	in.ControllerPod = false
	v := claimOf("app")
	v.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "victim", UID: "victims-uid", Controller: ptr(true)}}
	for _, o := range toHost(t, tr, v, in).(*resourcev1.ResourceClaim).OwnerReferences {
		if o.UID == "victims-uid" {
			t.Errorf("the host claim is owned by %+v", o)
		}
	}
	in.ControllerPod = true
	for _, o := range []metav1.OwnerReference{
		{APIVersion: "v1", Kind: "Node", Name: "node-1", UID: "victims-uid", Controller: ptr(true)},
		{APIVersion: "apps/v1", Kind: "Pod", Name: "victim", UID: "victims-uid", Controller: ptr(true)},
		{APIVersion: "v1", Kind: "Pod", Name: "victim", UID: "victims-uid"},
	} {
		v.OwnerReferences = []metav1.OwnerReference{o}
		if got := toHost(t, tr, v, in).(*resourcev1.ResourceClaim).OwnerReferences; len(got) != 1 || !strings.HasPrefix(string(got[0].UID), "owner") {
			t.Errorf("%+v became %+v", o, got)
		}
	}
}

// TestAttackClaimStatusWrittenByTheTenant: a tenant writes an allocation into a
// claim's status, so that a node would prepare devices that the scheduler has
// not allocated. The host keeps its status.
func TestAttackClaimStatusWrittenByTheTenant(t *testing.T) {
	tr := mustNew(t, testCluster())
	h := toHost(t, tr, claimOf("app"), testInputs()).(*resourcev1.ResourceClaim)
	h.Status.Devices = []resourcev1.AllocatedDeviceStatus{{Driver: "gpu.example", Pool: "node-1", Device: "gpu-0"}}
	v := toVirtual(t, tr, h).(*resourcev1.ResourceClaim)
	v.Status.Allocation = &resourcev1.AllocationResult{}
	v.Status.ReservedFor = []resourcev1.ResourceClaimConsumerReference{{Resource: "pods", Name: "web", UID: "1"}}
	v.Status.Devices = nil
	again := toHost(t, tr, v, rewrite.Inputs{Host: h}).(*resourcev1.ResourceClaim)
	if d := diff(h.Status, again.Status); d != "" {
		t.Errorf("on the host (-want +got):\n%s", d)
	}
}
