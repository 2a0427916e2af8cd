// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/utils/ptr"

	"portico.dev/portico/proxy/host"
	"portico.dev/portico/rewrite"
)

const (
	claimsResource = "resourceclaims.resource.k8s.io"
	hostGPU        = "gpu-x-demo-x-vc"
)

var longName = strings.Repeat("long-", 12) + "name"

func newClaim(classes ...string) *resourcev1.ResourceClaim {
	c := &resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "gpu"}}
	for _, class := range classes {
		c.Spec.Devices.Requests = append(c.Spec.Devices.Requests, resourcev1.DeviceRequest{Name: class, Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: class}})
	}
	return c
}

func claimKey(c *resourcev1.ResourceClaim) string {
	return "/" + claimsResource + "/" + c.Namespace + "/" + c.Name
}

// claimFixture is a storage of claims, on a host that offers the class "offered".
func claimFixture(t *testing.T) *fixture {
	t.Helper()
	return newFixture(t, claimsResource, func(c *host.Config) {
		c.DeviceClasses = func(_ context.Context, names []string) ([]string, error) {
			return slices.DeleteFunc(names, func(n string) bool { return n != "offered" }), nil
		}
	})
}

func (f *fixture) createClaim(c *resourcev1.ResourceClaim) *resourcev1.ResourceClaim {
	f.t.Helper()
	out := &resourcev1.ResourceClaim{}
	if err := f.Create(f.t.Context(), claimKey(c), c, out, 0); err != nil {
		f.t.Fatalf("create claim %s: %v", c.Name, err)
	}
	return out
}

// hostPod puts the host pod of a virtual one on the host.
func (f *fixture) hostPod(namespace, name string) types.UID {
	f.t.Helper()
	h, err := f.tr.PodToHost(newPod(namespace, name), rewrite.Inputs{})
	if err != nil {
		f.t.Fatal(err)
	}
	f.host.put("pods", h)
	return types.UID(str(md(f.host.get("pods", h.Name))["uid"]))
}

func TestClaimIsAHostClaim(t *testing.T) {
	f := claimFixture(t)
	claim := newClaim("offered", "the-tenants")
	out := f.createClaim(claim)
	if diff := cmp.Diff(claim.Spec, out.Spec); diff != "" {
		t.Errorf("spec shown (-want +got):\n%s", diff)
	}
	var classes []string
	for _, r := range f.host.get("resourceclaims", hostGPU)["spec"].(tree)["devices"].(tree)["requests"].([]any) {
		classes = append(classes, str(r.(tree)["exactly"].(tree)["deviceClassName"]))
	}
	if classes[0] != "offered" || classes[1] == "the-tenants" {
		t.Errorf("the host claim asks for the classes %v", classes)
	}
}

// TestClaimIsRefusedWhenItsFactsAreUnknown: its spec could not be corrected
// later.
func TestClaimIsRefusedWhenItsFactsAreUnknown(t *testing.T) {
	f := newFixture(t, claimsResource, func(c *host.Config) {
		c.DeviceClasses = func(context.Context, []string) ([]string, error) { return nil, errors.New("the host is away") }
	})
	err := f.Create(t.Context(), claimKey(newClaim("a")), newClaim("a"), nil, 0)
	if !apierrors.IsServiceUnavailable(err) || strings.Contains(err.Error(), "away") {
		t.Errorf("classes: %v, want 503 without the cause", err)
	}

	f = claimFixture(t)
	f.host.mu.Lock()
	f.host.answer = func(c call) *metav1.Status {
		if c.resource == "pods" {
			return &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: "no"}
		}
		return nil
	}
	f.host.mu.Unlock()
	claim := newClaim("offered")
	claim.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "web", UID: "u", Controller: ptr.To(true)}}
	if err := f.Create(t.Context(), claimKey(claim), claim, nil, 0); !apierrors.IsServiceUnavailable(err) {
		t.Errorf("owner: %v, want 503", err)
	}
}

// TestAttackClaimForAPodOfSomebodyElse: a tenant makes a claim that names the
// uid of another's pod as its controller. On the host a pod gets the claims
// that name its uid, so this claim must not name it there.
func TestAttackClaimForAPodOfSomebodyElse(t *testing.T) {
	f := claimFixture(t)
	own, victim := f.hostPod("demo", "web"), f.hostPod("victim", "web")
	for name, c := range map[string]struct {
		uid        types.UID
		pod        string
		controlled bool
	}{
		"for-its-own":              {own, "web", true},
		"for-another-namespace":    {victim, "web", false},
		"for-one-that-is-not-here": {"made-up", "gone", false},
	} {
		claim := newClaim("offered")
		claim.Name = name
		claim.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: c.pod, UID: c.uid, Controller: ptr.To(true)}}
		out := f.createClaim(claim)
		if diff := cmp.Diff(claim.OwnerReferences, out.OwnerReferences); diff != "" {
			t.Errorf("%s: owners shown (-want +got):\n%s", name, diff)
		}
		h := &resourcev1.ResourceClaim{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(f.host.get("resourceclaims", f.tr.Name("demo", claim.Name)), h); err != nil {
			t.Fatal(err)
		}
		if got := rewrite.ControllerPod(h) != nil; got != c.controlled {
			t.Errorf("%s: a pod controls the host claim: %t, want %t", name, got, c.controlled)
		}
	}
}

// TestReservedForNamesVirtualPods, also when their host names cannot be read.
func TestReservedForNamesVirtualPods(t *testing.T) {
	f := claimFixture(t)
	claim := f.createClaim(newClaim("offered"))
	short, long, foreign := f.hostPod("demo", "web"), f.hostPod("demo", longName), f.hostPod("other", longName)
	reservation := func(namespace, name string, uid types.UID) any {
		return tree{"resource": "pods", "name": f.tr.Name(namespace, name), "uid": string(uid)}
	}
	f.host.edit("resourceclaims", hostGPU, func(h tree) {
		h["status"] = tree{"reservedFor": []any{
			reservation("demo", longName, long), reservation("demo", "web", short),
			reservation("other", longName, foreign), reservation("demo", longName+"-gone", "gone"),
		}}
	})
	want := []resourcev1.ResourceClaimConsumerReference{{Resource: "pods", Name: longName, UID: long}, {Resource: "pods", Name: "web", UID: short}}
	reads := f.host.count("GET")
	for range 2 {
		out := &resourcev1.ResourceClaim{}
		if err := f.Get(t.Context(), claimKey(claim), storage.GetOptions{}, out); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.Status.ReservedFor); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	// Two reads of the claim, one of each known pod, two of the one that has gone.
	if n := f.host.count("GET") - reads; n != 6 {
		t.Errorf("the host was asked %d times, want 6", n)
	}
}

// TestStatusOfAClaimIsNotTheTenants: the tenant's own controllers may write it,
// and nothing comes of it.
func TestStatusOfAClaimIsNotTheTenants(t *testing.T) {
	f := claimFixture(t)
	claim := f.createClaim(newClaim("offered"))
	f.host.writes()
	out := &resourcev1.ResourceClaim{}
	err := f.GuaranteedUpdate(t.Context(), claimKey(claim), out, false, nil, storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
		in.(*resourcev1.ResourceClaim).Status.Devices = []resourcev1.AllocatedDeviceStatus{{Driver: "d", Pool: "p", Device: "x"}}
		return in, nil
	}), nil)
	if err != nil || len(out.Status.Devices) != 0 {
		t.Errorf("status shown %+v, err %v", out.Status, err)
	}
	if w := f.host.writes(); len(w) != 0 {
		t.Errorf("host calls: %v", w)
	}
}

func TestClaimOfTheHostIsNotShown(t *testing.T) {
	f := claimFixture(t)
	f.host.put("resourceclaims", &resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Name: hostGPU, Labels: map[string]string{rewrite.LabelCluster: "vc"}}})
	err := f.Get(t.Context(), claimKey(newClaim()), storage.GetOptions{}, &resourcev1.ResourceClaim{})
	if !storage.IsNotFound(err) {
		t.Errorf("got %v, want not found", err)
	}
}
