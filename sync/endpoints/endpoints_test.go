// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package endpoints_test

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/endpoints"
	"portico.dev/portico/sync/internal/harness"
)

// most is how many slices the host has room for.
const most = 50

type fixture struct{ *harness.Harness }

func start(t *testing.T, virtual []runtime.Object, host ...runtime.Object) *fixture {
	t.Helper()
	h := &fixture{harness.New(t, virtual, host, func(c *rewrite.Cluster) { c.DNS = &rewrite.DNS{TargetPort: 1053} })}
	c, err := endpoints.New(endpoints.Config{Translator: h.Translator, Informers: h.Informers, Host: h.Host, Most: most})
	if err != nil {
		t.Fatal(err)
	}
	h.Run(c.Run)
	return h
}

func service(namespace, name string, spec corev1.ServiceSpec) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: spec}
}

func (h *fixture) service(namespace, name string, spec corev1.ServiceSpec) *corev1.Service {
	h.T.Helper()
	s, err := h.Virtual.CoreV1().Services(namespace).Create(h.T.Context(), service(namespace, name, spec), metav1.CreateOptions{})
	if err != nil {
		h.T.Fatal(err)
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

func (h *fixture) create(s *discoveryv1.EndpointSlice) {
	h.T.Helper()
	if _, err := h.Virtual.DiscoveryV1().EndpointSlices(s.Namespace).Create(h.T.Context(), s, metav1.CreateOptions{}); err != nil {
		h.T.Fatal(err)
	}
}

// wait waits until the host slice of a virtual slice has an address, or is not
// there if that is empty.
func (h *fixture) wait(namespace, name, address string) *discoveryv1.EndpointSlice {
	h.T.Helper()
	var found *discoveryv1.EndpointSlice
	h.Eventually(fmt.Sprintf("host slice of %s/%s with %q", namespace, name, address), func(ctx context.Context) (bool, any) {
		s, err := h.Host.DiscoveryV1().EndpointSlices(harness.HostNamespace).Get(ctx, h.Translator.Name(namespace, name), metav1.GetOptions{})
		if err != nil {
			return address == "" && apierrors.IsNotFound(err), err
		}
		found = s
		return address != "" && s.Endpoints[0].Addresses[0] == address, s.Endpoints
	})
	return found
}

var withAddress = corev1.ServiceSpec{ClusterIP: "10.96.0.9", Type: corev1.ServiceTypeClusterIP}

func TestSliceFollowsItsServiceAndItself(t *testing.T) {
	h := start(t, nil)
	s := h.service("shop", "db", withAddress)
	v := slice("shop", "db-1", "db", "192.0.2.1")
	h.create(v)
	host := h.wait("shop", "db-1", "192.0.2.1")
	if got := host.Labels[discoveryv1.LabelServiceName]; got != h.Translator.ServiceName("shop", "db") {
		t.Errorf("it leads to Service %s", got)
	}
	if host.Labels[discoveryv1.LabelManagedBy] != rewrite.ManagedBy || *host.Endpoints[0].Zone != "west" ||
		host.Endpoints[0].TargetRef.Name != h.Translator.Name("shop", "web-0") || *host.Ports[0].Port != 8080 {
		t.Errorf("host slice: %+v", host)
	}

	v.Endpoints[0].Addresses = []string{"192.0.2.2"}
	if _, err := h.Virtual.DiscoveryV1().EndpointSlices("shop").Update(t.Context(), v, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("shop", "db-1", "192.0.2.2")

	s.Spec.Selector = map[string]string{"app": "db"}
	if _, err := h.Virtual.CoreV1().Services("shop").Update(t.Context(), s, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("shop", "db-1", "")
	s.Spec.Selector = nil
	if _, err := h.Virtual.CoreV1().Services("shop").Update(t.Context(), s, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("shop", "db-1", "192.0.2.2")
	if err := h.Virtual.DiscoveryV1().EndpointSlices("shop").Delete(t.Context(), "db-1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("shop", "db-1", "")
}

func TestOnlyServicesWithoutSelectorAreAnsweredFor(t *testing.T) {
	h := start(t, []runtime.Object{
		service("shop", "selecting", corev1.ServiceSpec{ClusterIP: "10.96.0.8", Selector: map[string]string{"app": "x"}}),
		service("shop", "headless", corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone}),
		service("shop", "external", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.com"}),
		service("shop", "db", withAddress),
	})
	for _, name := range []string{"selecting", "headless", "external", "orphan", "db"} {
		h.create(slice("shop", name, name, "192.0.2.1"))
	}
	h.wait("shop", "db", "192.0.2.1")
	h.OnlyWrites("endpointslices", h.Translator.Name("shop", "db"))
}

func TestHostSliceThatSomebodyChangesIsPutRight(t *testing.T) {
	h := start(t, nil)
	h.service("shop", "db", withAddress)
	h.create(slice("shop", "db", "db", "192.0.2.1"))
	host := h.wait("shop", "db", "192.0.2.1")
	host.Endpoints[0].Addresses = []string{"192.0.2.66"}
	slices := h.Host.DiscoveryV1().EndpointSlices(harness.HostNamespace)
	if _, err := slices.Update(t.Context(), host, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("shop", "db", "192.0.2.1")
	if err := slices.Delete(t.Context(), host.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("shop", "db", "192.0.2.1")
}

// The cluster's own Service is default/kubernetes. A tenant who could add an
// endpoint to it would get the calls, and the tokens, of every pod.
func TestAttackSliceForTheClustersOwnService(t *testing.T) {
	h := start(t, []runtime.Object{service("default", "kubernetes", withAddress), service("default", "db", withAddress)})
	h.create(slice("default", "mine", "kubernetes", "192.0.2.66"))
	h.create(slice("default", "db", "db", "192.0.2.1"))
	h.wait("default", "db", "192.0.2.1")
	h.OnlyWrites("endpointslices", h.Translator.Name("default", "db"))
}

// A tenant writes endpoints for kube-system/kube-dns, to answer the questions of
// all pods. None reaches the host, even if the Service looks as if it had no
// selector.
func TestAttackSliceForTheClustersDNS(t *testing.T) {
	h := start(t, []runtime.Object{service("kube-system", "kube-dns", withAddress), service("kube-system", "db", withAddress)})
	h.create(slice("kube-system", "mine", "kube-dns", "192.0.2.66"))
	h.create(slice("kube-system", "db", "db", "192.0.2.1"))
	h.wait("kube-system", "db", "192.0.2.1")
	h.OnlyWrites("endpointslices", h.Translator.Name("kube-system", "db"))
}

// A tenant knows how host names are made. A slice that names another
// namespace's Service in that form leads nowhere.
func TestAttackSliceNamesAHostService(t *testing.T) {
	h := start(t, nil)
	h.service("victim", "db", withAddress)
	form := h.Translator.ServiceName("victim", "db")
	h.service("attacker", form, withAddress)
	h.create(slice("attacker", "s", form, "192.0.2.66"))
	host := h.wait("attacker", "s", "192.0.2.66")
	if got := host.Labels[discoveryv1.LabelServiceName]; got == form {
		t.Errorf("the attacker's slice leads to %s", got)
	}
}

func TestForeignSliceUnderTheNameIsNotTouched(t *testing.T) {
	name := harness.Translator(t).Name("shop", "db")
	h := start(t, nil, slice(harness.HostNamespace, name, "somebody", "192.0.2.66"))
	h.service("shop", "db", withAddress)
	h.create(slice("shop", "db", "db", "192.0.2.1"))
	h.LeavesAlone("endpointslices", name)
	h.wait("shop", "db", "192.0.2.66")
}

// A tenant writes endpoint slices without end. Every node of the host follows
// all of them, so there is a most.
func TestAttackManySlices(t *testing.T) {
	h := start(t, nil)
	h.service("shop", "db", withAddress)
	for i := range most + 20 {
		h.create(slice("shop", fmt.Sprintf("s-%d", i), "db", "192.0.2.1"))
	}
	list := func() []discoveryv1.EndpointSlice {
		t.Helper()
		list, err := h.Host.DiscoveryV1().EndpointSlices(harness.HostNamespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return list.Items
	}
	h.Eventually("slices on the host", func(context.Context) (bool, any) { return len(list()) >= most, len(list()) })
	// One that is there is still kept in step, after all that waits has been
	// looked at.
	_, name, err := h.Translator.Identify("EndpointSlice", &list()[0])
	if err != nil {
		t.Fatal(err)
	}
	next := slice("shop", name, "db", "192.0.2.2")
	if _, err := h.Virtual.DiscoveryV1().EndpointSlices("shop").Update(t.Context(), next, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("shop", name, "192.0.2.2")
	h.Stop()
	if n := len(list()); n != most {
		t.Errorf("%d slices on the host, want %d at most", n, most)
	}
}

// longName is hashed on the host.
const longName = "a-name-that-needs-the-hash-rule-on-the-host-because-it-is-so-long"

// before is the host object that an earlier version made of one with a long
// name.
func before[T metav1.Object](t *testing.T, host T) T {
	t.Helper()
	a := host.GetAnnotations()
	name, had := harness.Translator(t).FormerName(a[rewrite.AnnotationNamespace], a[rewrite.AnnotationName])
	if !had {
		t.Fatalf("%s has no former name", host.GetName())
	}
	host.SetName(name)
	return host
}

func hostSlice(t *testing.T, v *discoveryv1.EndpointSlice, former ...rewrite.Named) *discoveryv1.EndpointSlice {
	t.Helper()
	h, err := harness.Translator(t).EndpointSliceToHost(v, rewrite.Inputs{Former: former})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func hostService(t *testing.T, namespace, name string) *corev1.Service {
	t.Helper()
	h, err := harness.Translator(t).ServiceToHost(service(namespace, name, withAddress), rewrite.Inputs{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// waitNamed waits until the host slice of that name has an address, or is not
// there if that is empty.
func (h *fixture) waitNamed(name, address string) (found *discoveryv1.EndpointSlice) {
	h.T.Helper()
	h.Eventually(fmt.Sprintf("host slice %s with %q", name, address), func(ctx context.Context) (bool, any) {
		s, err := h.Host.DiscoveryV1().EndpointSlices(harness.HostNamespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return address == "" && apierrors.IsNotFound(err), err
		}
		found = s
		return address != "" && s.Endpoints[0].Addresses[0] == address, s.Endpoints
	})
	return found
}

// A slice of an earlier version stays where it is, leads to the Service and the
// pod that are there still, and goes with its virtual slice. There is no second
// one of today's name, which would double its endpoints.
func TestFormerSliceIsKeptInStep(t *testing.T) {
	v := slice("shop", longName, longName, "192.0.2.1")
	v.Endpoints[0].TargetRef.Name = longName
	was := before(t, hostSlice(t, v, rewrite.Named{Kind: "Service", Name: longName}, rewrite.Named{Kind: "Pod", Name: longName}))
	db := before(t, hostService(t, "shop", longName))
	h := start(t, []runtime.Object{service("shop", longName, withAddress)}, was, db)
	v.Endpoints[0].Addresses = []string{"192.0.2.2"}
	h.create(v)
	s := h.waitNamed(was.Name, "192.0.2.2")
	if got := s.Labels[discoveryv1.LabelServiceName]; got != db.Name {
		t.Errorf("it leads to the Service %s, want %s", got, db.Name)
	}
	if got := s.Endpoints[0].TargetRef.Name; got != was.Endpoints[0].TargetRef.Name {
		t.Errorf("it leads to the pod %s, want %s", got, was.Endpoints[0].TargetRef.Name)
	}
	if err := h.Virtual.DiscoveryV1().EndpointSlices("shop").Delete(t.Context(), longName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.waitNamed(was.Name, "")
	h.create(v)
	h.wait("shop", longName, "192.0.2.2")
	h.OnlyWrites("endpointslices", was.Name, h.Translator.Name("shop", longName))
	h.waitNamed(was.Name, "")
}

// A new slice leads to a Service of before by the name that this has.
func TestNewSliceOfAFormerService(t *testing.T) {
	db := before(t, hostService(t, "shop", longName))
	h := start(t, []runtime.Object{service("shop", longName, withAddress)}, db)
	h.create(slice("shop", "db", longName, "192.0.2.1"))
	if got := h.wait("shop", "db", "192.0.2.1").Labels[discoveryv1.LabelServiceName]; got != db.Name {
		t.Errorf("it leads to the Service %s, want %s", got, db.Name)
	}
}

// A virtual slice with two host slices keeps that of today.
func TestTwoSlicesBecomeOne(t *testing.T) {
	v := slice("shop", longName, "db", "192.0.2.1")
	now, was := hostSlice(t, v), before(t, hostSlice(t, v))
	h := start(t, []runtime.Object{service("shop", "db", withAddress), v}, now, was)
	h.waitNamed(was.Name, "")
	h.waitNamed(now.Name, "192.0.2.1")
}

// TestAttackSliceOfAnOperatorsService: a tenant's Service has the host name of a
// Service of the operator. No endpoint of the tenant gets there.
func TestAttackSliceOfAnOperatorsService(t *testing.T) {
	operators := hostService(t, "shop", longName)
	operators.Labels, operators.Annotations = nil, nil
	h := start(t, []runtime.Object{service("shop", longName, withAddress), service("shop", "db", withAddress)}, operators)
	h.create(slice("shop", "mine", longName, "192.0.2.66"))
	h.create(slice("shop", "db", "db", "192.0.2.1"))
	h.wait("shop", "db", "192.0.2.1")
	h.OnlyWrites("endpointslices", h.Translator.Name("shop", "db"))
}

// TestAttackFormerSliceOfAnother: a tenant who searches finds two slices with
// one former name. The one that is on the host is not taken for the other, nor
// removed with it.
func TestAttackFormerSliceOfAnother(t *testing.T) {
	another := hostSlice(t, slice("shop", longName+"-2", "db", "192.0.2.66"))
	another.Name, _ = harness.Translator(t).FormerName("shop", longName)
	h := start(t, []runtime.Object{service("shop", "db", withAddress)}, another)
	v := slice("shop", longName, "db", "192.0.2.1")
	h.create(v)
	h.wait("shop", longName, "192.0.2.1")
	if err := h.Virtual.DiscoveryV1().EndpointSlices("shop").Delete(t.Context(), longName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("shop", longName, "")
	h.OnlyWrites("endpointslices", h.Translator.Name("shop", longName))
}
