// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/utils/ptr"

	"portico.dev/portico/test/embedded"
)

// longName leaves no room in a host name, which is shortened then.
const longName = "a-pod-whose-name-leaves-no-room-for-a-namespace-and-a-cluster"

// TestResourceClaims: pods get devices of the host through claims of the
// tenant's, by name and from a template, and nothing in them names the host's
// objects.
func TestResourceClaims(t *testing.T) {
	h := embedded.SharedHost(t)
	unique := rand.String(6) // the host is shared, and so are names without a namespace
	offered, hidden := "gpu-"+unique, "hidden-"+unique
	offerDevices(t, h, unique, offered, hidden)
	c := newClusterWith(t, h, fmt.Sprintf(`sync:
  fromHost: {deviceClasses: {enabled: true, selector: {matchLabels: {claims-test: %q}}}}
  toHost: {resourceClaims: {enabled: true}}
`, unique))
	t.Run("by name", func(t *testing.T) { c.claimByName(t, offered) })
	t.Run("from a template", func(t *testing.T) { c.claimFromTemplate(t, offered) })
	t.Run("attacks", func(t *testing.T) { c.attackDevices(t, offered, hidden) })
}

// devices gives the host a driver's devices and classes for them, of which the
// first is for tenants.
func offerDevices(t *testing.T, h *embedded.Host, unique string, offered, hidden string) {
	t.Helper()
	api, ctx := h.Client.ResourceV1(), t.Context()
	for _, class := range []*resourcev1.DeviceClass{
		{ObjectMeta: metav1.ObjectMeta{Name: offered, Labels: map[string]string{"claims-test": unique}}},
		{ObjectMeta: metav1.ObjectMeta{Name: hidden}},
	} {
		class.Spec.Selectors = []resourcev1.DeviceSelector{{CEL: &resourcev1.CELDeviceSelector{Expression: fmt.Sprintf("device.driver == %q", unique+".example")}}}
		if _, err := api.DeviceClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := api.DeviceClasses().Delete(context.WithoutCancel(ctx), class.Name, metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	slice := &resourcev1.ResourceSlice{
		ObjectMeta: metav1.ObjectMeta{Name: "devices-" + unique},
		Spec: resourcev1.ResourceSliceSpec{
			Driver: unique + ".example", AllNodes: ptr.To(true),
			Pool:    resourcev1.ResourcePool{Name: unique, ResourceSliceCount: 1},
			Devices: []resourcev1.Device{{Name: "gpu-0"}, {Name: "gpu-1"}, {Name: "gpu-2"}, {Name: "gpu-3"}},
		},
	}
	if _, err := api.ResourceSlices().Create(ctx, slice, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := api.ResourceSlices().Delete(context.WithoutCancel(ctx), slice.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

func oneOf(class string) resourcev1.ResourceClaimSpec {
	return resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{
		{Name: "one", Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: class}},
	}}}
}

func (c *cluster) claim(t *testing.T, name, class string) *resourcev1.ResourceClaim {
	t.Helper()
	claim, err := c.Virtual.ResourceV1().ResourceClaims("default").Create(t.Context(),
		&resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: oneOf(class)}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return claim
}

// claimingPod makes a pod with one claim, called "device" in it.
func (c *cluster) claimingPod(t *testing.T, name string, claim corev1.PodResourceClaim) *corev1.Pod {
	t.Helper()
	claim.Name = "device"
	p := embedded.Pod(name, nil)
	p.Spec.ResourceClaims = []corev1.PodResourceClaim{claim}
	p.Spec.Containers[0].Resources.Claims = []corev1.ResourceClaim{{Name: "device"}}
	p, err := c.Virtual.CoreV1().Pods("default").Create(t.Context(), p, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// runs waits until a pod runs and returns it.
func (c *cluster) runs(t *testing.T, name string) (p *corev1.Pod) {
	t.Helper()
	embedded.Eventually(t, "pod "+name, func(ctx context.Context) (bool, string) {
		var err error
		if p, err = c.Virtual.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{}); err != nil {
			return false, err.Error()
		}
		return p.Status.Phase == corev1.PodRunning, fmt.Sprintf("%+v", p.Status)
	})
	return p
}

// reserved waits until a claim is shown as allocated, and reserved for exactly
// this pod.
func (c *cluster) reserved(t *testing.T, name string, p *corev1.Pod) (claim *resourcev1.ResourceClaim) {
	t.Helper()
	embedded.Eventually(t, "claim "+name, func(ctx context.Context) (bool, string) {
		var err error
		if claim, err = c.Virtual.ResourceV1().ResourceClaims("default").Get(ctx, name, metav1.GetOptions{}); err != nil {
			return false, err.Error()
		}
		for _, r := range claim.Status.ReservedFor {
			if r.Name != p.Name || r.UID != p.UID || r.Resource != "pods" {
				t.Fatalf("claim %s is reserved for %+v", name, r)
			}
		}
		s := claim.Status
		return s.Allocation != nil && len(s.Allocation.Devices.Results) == 1 && len(s.ReservedFor) == 1, fmt.Sprintf("%+v", s)
	})
	return claim
}

// nothingOfTheHost fails if an object of the tenant's mentions its host.
func (c *cluster) nothingOfTheHost(t *testing.T, objects ...any) {
	t.Helper()
	for _, o := range objects {
		raw, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"-x-", c.Namespace, "portico.dev"} {
			if strings.Contains(string(raw), word) {
				t.Errorf("the tenant reads %q: %s", word, raw)
			}
		}
	}
}

func (c *cluster) gone(t *testing.T, what string, get func(ctx context.Context) error) {
	t.Helper()
	embedded.Eventually(t, what+" goes", func(ctx context.Context) (bool, string) {
		err := get(ctx)
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
}

func (c *cluster) claimByName(t *testing.T, class string) {
	ctx, claims, pods := t.Context(), c.Virtual.ResourceV1().ResourceClaims("default"), c.Virtual.CoreV1().Pods("default")
	c.claim(t, "cards", class)
	c.claimingPod(t, longName, corev1.PodResourceClaim{ResourceClaimName: ptr.To("cards")})
	p := c.runs(t, longName)
	c.nothingOfTheHost(t, c.reserved(t, "cards", p), p)

	// A claim in use stays until it is free.
	if err := claims.Delete(ctx, "cards", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if claim := c.reserved(t, "cards", p); claim.DeletionTimestamp == nil {
		t.Error("the deleted claim does not say that it is being deleted")
	}
	if err := pods.Delete(ctx, longName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.gone(t, "the claim", func(ctx context.Context) error { _, err := claims.Get(ctx, "cards", metav1.GetOptions{}); return err })
}

func (c *cluster) claimFromTemplate(t *testing.T, class string) {
	ctx, api := t.Context(), c.Virtual.ResourceV1()
	if _, err := api.ResourceClaimTemplates("default").Create(ctx, &resourcev1.ResourceClaimTemplate{
		ObjectMeta: metav1.ObjectMeta{Name: "one-gpu"}, Spec: resourcev1.ResourceClaimTemplateSpec{Spec: oneOf(class)},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.claimingPod(t, "web", corev1.PodResourceClaim{ResourceClaimTemplateName: ptr.To("one-gpu")})
	p := c.runs(t, "web")
	if s := p.Status.ResourceClaimStatuses; len(s) != 1 || s[0].ResourceClaimName == nil || !strings.HasPrefix(*s[0].ResourceClaimName, "web-device-") {
		t.Fatalf("claims of the pod: %+v", s)
	}
	name := *p.Status.ResourceClaimStatuses[0].ResourceClaimName
	claim := c.reserved(t, name, p)
	c.nothingOfTheHost(t, claim, p)
	if !metav1.IsControlledBy(claim, p) {
		t.Errorf("the claim is owned by %+v", claim.OwnerReferences)
	}
	host, err := c.Host.ResourceV1().ResourceClaims(c.Namespace).Get(ctx, c.HostName("default", name), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if owner := metav1.GetControllerOf(host); owner == nil || owner.Name != c.HostName("default", "web") || owner.UID != p.UID {
		t.Errorf("the host claim is controlled by %+v", owner)
	}
	events, err := c.Virtual.CoreV1().Events("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.nothingOfTheHost(t, events)

	if err := c.Virtual.CoreV1().Pods("default").Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.gone(t, "the claim", func(ctx context.Context) error {
		_, err := api.ResourceClaims("default").Get(ctx, name, metav1.GetOptions{})
		return err
	})
	c.gone(t, "the host claim", func(ctx context.Context) error {
		_, err := c.Host.ResourceV1().ResourceClaims(c.Namespace).Get(ctx, host.Name, metav1.GetOptions{})
		return err
	})
}

// attackDevices: a class that is not offered is not there, also for a tenant
// who knows its name; and no tenant sees the devices of others.
func (c *cluster) attackDevices(t *testing.T, offered, hidden string) {
	c.claim(t, "stolen", hidden)
	c.claimingPod(t, "thief", corev1.PodResourceClaim{ResourceClaimName: ptr.To("stolen")})
	embedded.Eventually(t, "the pod waits", func(ctx context.Context) (bool, string) {
		p, err := c.Virtual.CoreV1().Pods("default").Get(ctx, "thief", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		c.nothingOfTheHost(t, p.Status)
		for _, cond := range p.Status.Conditions {
			if cond.Type == corev1.PodScheduled && strings.Contains(cond.Message, "device class "+hidden+" does not exist") {
				return true, ""
			}
		}
		return false, fmt.Sprintf("%+v", p.Status)
	})

	// The API lets those have it who may label their namespace, as a tenant may.
	ctx := t.Context()
	if _, err := c.Virtual.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "admins", Labels: map[string]string{resourcev1.DRAAdminNamespaceLabelKey: "true"},
	}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	admin := &resourcev1.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: oneOf(offered)}
	admin.Spec.Devices.Requests[0].Exactly.AdminAccess = ptr.To(true)
	if _, err := c.Virtual.ResourceV1().ResourceClaims("admins").Create(ctx, admin, metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("access to the devices of others: %v, want Invalid", err)
	}
}
