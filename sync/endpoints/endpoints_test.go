// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package endpoints_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/endpoints"
)

const hostNamespace = "team-a"

// most is how many slices the host has room for.
const most = 50

type harness struct {
	t             *testing.T
	virtual, host *fake.Clientset
	translator    *rewrite.Translator
}

func newHarness(t *testing.T, host ...runtime.Object) *harness {
	t.Helper()
	translator, err := rewrite.New(rewrite.Cluster{Name: "vc", HostNamespace: hostNamespace, DNS: &rewrite.DNS{TargetPort: 1053}})
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{t: t, virtual: fake.NewClientset(), host: fake.NewClientset(host...), translator: translator}
	factory := informers.NewSharedInformerFactory(h.virtual, 0)
	c, err := endpoints.New(endpoints.Config{Translator: translator, Informers: factory, Host: h.host, Most: most})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		factory.Shutdown()
	})
	return h
}

func (h *harness) service(namespace, name string, spec corev1.ServiceSpec) *corev1.Service {
	h.t.Helper()
	s, err := h.virtual.CoreV1().Services(namespace).Create(h.t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func slice(namespace, name, service string, addresses ...string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: addresses, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)}, Zone: ptr.To("west"),
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: namespace, Name: "web-0"},
		}},
		Ports: []discoveryv1.EndpointPort{{Name: ptr.To("http"), Port: ptr.To[int32](8080)}},
	}
}

func (h *harness) create(s *discoveryv1.EndpointSlice) {
	h.t.Helper()
	if _, err := h.virtual.DiscoveryV1().EndpointSlices(s.Namespace).Create(h.t.Context(), s, metav1.CreateOptions{}); err != nil {
		h.t.Fatal(err)
	}
}

// wait waits until the host slice of a virtual slice has an address, or is not there if that is empty.
func (h *harness) wait(namespace, name, address string) *discoveryv1.EndpointSlice {
	h.t.Helper()
	var last string
	var found *discoveryv1.EndpointSlice
	err := wait.PollUntilContextTimeout(h.t.Context(), 5*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		s, err := h.host.DiscoveryV1().EndpointSlices(hostNamespace).Get(ctx, h.translator.Name(namespace, name), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			last = "not there"
			return address == "", nil
		}
		found, last = s, fmt.Sprint(s.Endpoints)
		return address != "" && s.Endpoints[0].Addresses[0] == address, err
	})
	if err != nil {
		h.t.Fatalf("host slice of %s/%s: %v; want %q, it is %s", namespace, name, err, address, last)
	}
	return found
}

var withAddress = corev1.ServiceSpec{ClusterIP: "10.96.0.9", Type: corev1.ServiceTypeClusterIP}

func TestSliceFollowsItsServiceAndItself(t *testing.T) {
	h := newHarness(t)
	s := h.service("shop", "db", withAddress)
	v := slice("shop", "db-1", "db", "192.0.2.1")
	h.create(v)
	host := h.wait("shop", "db-1", "192.0.2.1")
	if got := host.Labels[discoveryv1.LabelServiceName]; got != h.translator.ServiceName("shop", "db") {
		t.Errorf("it leads to Service %s", got)
	}
	if host.Labels[discoveryv1.LabelManagedBy] != rewrite.ManagedBy || *host.Endpoints[0].Zone != "west" ||
		host.Endpoints[0].TargetRef.Name != h.translator.Name("shop", "web-0") || *host.Ports[0].Port != 8080 {
		t.Errorf("host slice: %+v", host)
	}

	v.Endpoints[0].Addresses = []string{"192.0.2.2"}
	if _, err := h.virtual.DiscoveryV1().EndpointSlices("shop").Update(t.Context(), v, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("shop", "db-1", "192.0.2.2")

	s.Spec.Selector = map[string]string{"app": "db"}
	if _, err := h.virtual.CoreV1().Services("shop").Update(t.Context(), s, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("shop", "db-1", "")
	s.Spec.Selector = nil
	if _, err := h.virtual.CoreV1().Services("shop").Update(t.Context(), s, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("shop", "db-1", "192.0.2.2")
	if err := h.virtual.DiscoveryV1().EndpointSlices("shop").Delete(t.Context(), "db-1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("shop", "db-1", "")
}

func TestOnlyServicesWithoutSelectorAreAnsweredFor(t *testing.T) {
	h := newHarness(t)
	for name, spec := range map[string]corev1.ServiceSpec{
		"selecting": {ClusterIP: "10.96.0.8", Selector: map[string]string{"app": "x"}},
		"headless":  {ClusterIP: corev1.ClusterIPNone},
		"external":  {Type: corev1.ServiceTypeExternalName, ExternalName: "example.com"},
	} {
		h.service("shop", name, spec)
		h.create(slice("shop", name, name, "192.0.2.1"))
	}
	h.create(slice("shop", "orphan", "nothing", "192.0.2.1"))
	h.service("shop", "db", withAddress)
	h.create(slice("shop", "db", "db", "192.0.2.1"))
	h.wait("shop", "db", "192.0.2.1")
	for _, name := range []string{"selecting", "headless", "external", "orphan"} {
		h.wait("shop", name, "")
	}
}

func TestHostSliceThatSomebodyChangesIsPutRight(t *testing.T) {
	h := newHarness(t)
	h.service("shop", "db", withAddress)
	h.create(slice("shop", "db", "db", "192.0.2.1"))
	host := h.wait("shop", "db", "192.0.2.1")
	host.Endpoints[0].Addresses = []string{"192.0.2.66"}
	slices := h.host.DiscoveryV1().EndpointSlices(hostNamespace)
	if _, err := slices.Update(t.Context(), host, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("shop", "db", "192.0.2.1")
	if err := slices.Delete(t.Context(), host.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("shop", "db", "192.0.2.1")
}

// The cluster's own Service is default/kubernetes. Who could add an endpoint to
// it would get the calls, and the tokens, of every pod.
func TestAttackSliceForTheClustersOwnService(t *testing.T) {
	h := newHarness(t)
	h.service("default", "kubernetes", withAddress)
	h.create(slice("default", "mine", "kubernetes", "192.0.2.66"))
	h.service("default", "db", withAddress)
	h.create(slice("default", "db", "db", "192.0.2.1"))
	h.wait("default", "db", "192.0.2.1")
	h.wait("default", "mine", "")
}

// A tenant writes endpoints for kube-system/kube-dns, to answer the questions of
// all pods. None reaches the host, even if the Service looks as if it had no
// selector.
func TestAttackSliceForTheClustersDNS(t *testing.T) {
	h := newHarness(t)
	h.service("kube-system", "kube-dns", withAddress)
	h.create(slice("kube-system", "mine", "kube-dns", "192.0.2.66"))
	h.service("kube-system", "db", withAddress)
	h.create(slice("kube-system", "db", "db", "192.0.2.1"))
	h.wait("kube-system", "db", "192.0.2.1")
	h.wait("kube-system", "mine", "")
}

// A tenant knows how host names are made. A slice that names another
// namespace's Service in that form leads nowhere.
func TestAttackSliceNamesAHostService(t *testing.T) {
	h := newHarness(t)
	h.service("victim", "db", withAddress)
	form := h.translator.ServiceName("victim", "db")
	h.service("attacker", form, withAddress)
	h.create(slice("attacker", "s", form, "192.0.2.66"))
	host := h.wait("attacker", "s", "192.0.2.66")
	if got := host.Labels[discoveryv1.LabelServiceName]; got == form {
		t.Errorf("the attacker's slice leads to %s", got)
	}
}

func TestForeignSliceUnderTheNameIsNotTouched(t *testing.T) {
	name := newHarness(t).translator.Name("shop", "db")
	foreign := slice(hostNamespace, name, "somebody", "192.0.2.66")
	h := newHarness(t, foreign)
	h.service("shop", "db", withAddress)
	h.create(slice("shop", "db", "db", "192.0.2.1"))
	h.create(slice("shop", "other", "db", "192.0.2.1"))
	h.wait("shop", "other", "192.0.2.1")
	h.wait("shop", "db", "192.0.2.66")
}

// A tenant writes endpoint slices without end. Every node of the host follows
// all of them, so there is a most.
func TestAttackManySlices(t *testing.T) {
	h := newHarness(t)
	h.service("shop", "db", withAddress)
	for i := range most + 20 {
		h.create(slice("shop", fmt.Sprintf("s-%d", i), "db", "192.0.2.1"))
	}
	count := func() int {
		t.Helper()
		list, err := h.host.DiscoveryV1().EndpointSlices(hostNamespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return len(list.Items)
	}
	err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		return count() >= most, nil
	})
	if err != nil {
		t.Fatalf("%d slices on the host: %v", count(), err)
	}
	// One that is there is still kept in step, after all that waits has been looked at.
	host, err := h.host.DiscoveryV1().EndpointSlices(hostNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, name, err := h.translator.Identify("EndpointSlice", &host.Items[0])
	if err != nil {
		t.Fatal(err)
	}
	next := slice("shop", name, "db", "192.0.2.2")
	if _, err := h.virtual.DiscoveryV1().EndpointSlices("shop").Update(t.Context(), next, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("shop", name, "192.0.2.2")
	if n := count(); n != most {
		t.Errorf("%d slices on the host, want %d at most", n, most)
	}
}
