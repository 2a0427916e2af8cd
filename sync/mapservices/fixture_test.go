// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mapservices_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/harness"
	"portico.dev/portico/sync/mapservices"
)

// Two mappings, one in each direction, that most tests have.
var (
	fromHost    = mapservices.FromHost{Host: key("infra/db"), Virtual: key("shop/store")}
	fromVirtual = mapservices.FromVirtual{Virtual: key("shop/api"), Host: "api"}
)

func key(s string) types.NamespacedName {
	namespace, name, _ := strings.Cut(s, "/")
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// recorder keeps Events as "Namespace/Name Reason".
type recorder struct {
	record.EventRecorder
	mu   sync.Mutex
	said []string
}

func (r *recorder) Event(about runtime.Object, _, reason, _ string) {
	ref := about.(*corev1.ObjectReference)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, fmt.Sprintf("%s %s/%s %s", ref.Kind, ref.Namespace, ref.Name, reason))
}

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.said...)
}

type fixture struct {
	*harness.Harness
	inside, outside *recorder // Events of the virtual cluster and of the host
	cfg             mapservices.Config
}

// prepare makes a controller's surroundings, with a virtual namespace shop.
func prepare(t *testing.T, virtual []runtime.Object, host ...runtime.Object) *fixture {
	t.Helper()
	virtual = append(virtual, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
	f := &fixture{
		Harness: harness.New(t, virtual, host, func(c *rewrite.Cluster) {
			c.Owner = metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "vc.anchor", UID: "anchor"}
		}),
		inside: &recorder{}, outside: &recorder{},
	}
	f.cfg = mapservices.Config{
		Translator: f.Translator, Virtual: f.Virtual, Informers: f.Informers, Host: f.Host,
		FromHost: []mapservices.FromHost{fromHost}, FromVirtual: []mapservices.FromVirtual{fromVirtual},
		VirtualEvents: f.inside, HostEvents: f.outside, Clock: f.Clock,
	}
	return f
}

func (f *fixture) start() *fixture {
	f.T.Helper()
	c, err := mapservices.New(f.cfg)
	if err != nil {
		f.T.Fatal(err)
	}
	f.Run(c.Run)
	return f
}

func start(t *testing.T, virtual []runtime.Object, host ...runtime.Object) *fixture {
	t.Helper()
	return prepare(t, virtual, host...).start()
}

// db is the host Service of fromHost, and dbSlice one of its slices.
func db(change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "infra", Name: "db", Labels: map[string]string{"team": "infra"}},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, ClusterIP: "10.96.0.7", Selector: map[string]string{"app": "db"},
			Ports: []corev1.ServicePort{{Name: "sql", Port: 5432, TargetPort: intstr.FromString("sql"), NodePort: 30001}},
		},
	}
	for _, f := range change {
		f(s)
	}
	return s
}

func dbSlice(name string, addresses ...string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "infra", Name: name,
			Labels: map[string]string{discoveryv1.LabelServiceName: "db", discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: addresses, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)}, Hostname: ptr.To("db-0"),
			NodeName: ptr.To("node-of-the-host"), Zone: ptr.To("west"),
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: "infra", Name: "pod-of-the-host"},
		}},
		Ports: []discoveryv1.EndpointPort{{Name: ptr.To("sql"), Port: ptr.To[int32](15432)}},
	}
}

// api is the virtual Service of fromVirtual, on the host.
func (f *fixture) api(change ...func(*corev1.Service)) *corev1.Service {
	f.T.Helper()
	v := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "api"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.96.0.8", Selector: map[string]string{"app": "api"},
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080), NodePort: 30002}},
		},
	}
	for _, c := range change {
		c(v)
	}
	h, err := f.Translator.ServiceToHost(v, rewrite.Inputs{})
	if err != nil {
		f.T.Fatal(err)
	}
	return h
}

func (f *fixture) createHost(s *corev1.Service) {
	f.T.Helper()
	if _, err := f.Host.CoreV1().Services(s.Namespace).Create(f.T.Context(), s, metav1.CreateOptions{}); err != nil {
		f.T.Fatal(err)
	}
}

func (f *fixture) updateHost(s *corev1.Service) {
	f.T.Helper()
	if _, err := f.Host.CoreV1().Services(s.Namespace).Update(f.T.Context(), s, metav1.UpdateOptions{}); err != nil {
		f.T.Fatal(err)
	}
}

func (f *fixture) deleteHost(at string) {
	f.T.Helper()
	if err := f.Host.CoreV1().Services(key(at).Namespace).Delete(f.T.Context(), key(at).Name, metav1.DeleteOptions{}); err != nil {
		f.T.Fatal(err)
	}
}

// virtual waits until the virtual Service at a place is as it should be.
func (f *fixture) virtual(at string, holds func(*corev1.Service) bool) *corev1.Service {
	f.T.Helper()
	var found *corev1.Service
	f.Eventually("virtual Service "+at, func(ctx context.Context) (bool, any) {
		s, err := f.Virtual.CoreV1().Services(key(at).Namespace).Get(ctx, key(at).Name, metav1.GetOptions{})
		found = s
		return err == nil && holds(s), fmt.Sprintf("%v %+v", err, s)
	})
	return found
}

// host waits until a Service of the cluster's host namespace is as it should be.
func (f *fixture) host(name string, holds func(*corev1.Service) bool) *corev1.Service {
	f.T.Helper()
	var found *corev1.Service
	f.Eventually("host Service "+name, func(ctx context.Context) (bool, any) {
		s, err := f.Host.CoreV1().Services(harness.HostNamespace).Get(ctx, name, metav1.GetOptions{})
		found = s
		return err == nil && holds(s), fmt.Sprintf("%v %+v", err, s)
	})
	return found
}

func (f *fixture) gone(what string, get func(ctx context.Context) error) {
	f.T.Helper()
	f.Eventually(what+" is gone", func(ctx context.Context) (bool, any) {
		err := get(ctx)
		return apierrors.IsNotFound(err), err
	})
}

func (f *fixture) virtualGone(at string) {
	f.T.Helper()
	f.gone("virtual Service "+at, func(ctx context.Context) error {
		_, err := f.Virtual.CoreV1().Services(key(at).Namespace).Get(ctx, key(at).Name, metav1.GetOptions{})
		return err
	})
}

func (f *fixture) hostGone(name string) {
	f.T.Helper()
	f.gone("host Service "+name, func(ctx context.Context) error {
		_, err := f.Host.CoreV1().Services(harness.HostNamespace).Get(ctx, name, metav1.GetOptions{})
		return err
	})
}

// leadsTo waits until the slices of a virtual Service have these addresses.
func (f *fixture) leadsTo(at string, addresses ...string) []discoveryv1.EndpointSlice {
	f.T.Helper()
	var found []discoveryv1.EndpointSlice
	f.Eventually(fmt.Sprintf("addresses %v behind %s", addresses, at), func(ctx context.Context) (bool, any) {
		list, err := f.Virtual.DiscoveryV1().EndpointSlices(key(at).Namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + key(at).Name})
		if err != nil {
			return false, err
		}
		have := map[string]bool{}
		for _, s := range list.Items {
			for _, e := range s.Endpoints {
				for _, a := range e.Addresses {
					have[a] = true
				}
			}
		}
		found = list.Items
		for _, a := range addresses {
			if !have[a] {
				return false, have
			}
		}
		return len(have) == len(addresses), have
	})
	return found
}

// says waits until Events have been written, and returns them.
func (f *fixture) says(r *recorder, want ...string) {
	f.T.Helper()
	f.Eventually(fmt.Sprintf("Events %q", want), func(context.Context) (bool, any) {
		all := r.all()
		return fmt.Sprint(all) == fmt.Sprint(want), all
	})
}

func any1[T any](T) bool { return true }
