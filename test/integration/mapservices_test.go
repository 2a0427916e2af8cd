// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	mdns "github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/test/embedded"
)

// hostTeam is a namespace of the host next to the cluster's, whose Services are
// mapped.
type hostTeam struct {
	t         *testing.T
	client    kubernetes.Interface
	namespace string
}

func newHostTeam(t *testing.T, h *embedded.Host) *hostTeam {
	t.Helper()
	ns, err := h.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "team-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Client.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return &hostTeam{t: t, client: h.Client, namespace: ns.Name}
}

func (h *hostTeam) service(name string, spec corev1.ServiceSpec) *corev1.Service {
	h.t.Helper()
	s, err := h.client.CoreV1().Services(h.namespace).Create(h.t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func (h *hostTeam) delete(name string) {
	h.t.Helper()
	if err := h.client.CoreV1().Services(h.namespace).Delete(h.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		h.t.Fatal(err)
	}
}

// slice writes an endpoint as the host's controllers would.
func (h *hostTeam) slice(service, address string) {
	h.t.Helper()
	name, port, ready := "http", int32(8080), true
	_, err := h.client.DiscoveryV1().EndpointSlices(h.namespace).Create(h.t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name:   service + "-" + strings.ReplaceAll(address, ".", "-"),
			Labels: map[string]string{discoveryv1.LabelServiceName: service, discoveryv1.LabelManagedBy: "test"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
	}, metav1.CreateOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
}

// leadTo waits until the slices of a Service in a host namespace, which
// kube-proxy reads, have these addresses with a port.
func (c *cluster) leadTo(namespace, service string, port int32, addresses ...string) {
	c.T.Helper()
	slices.Sort(addresses)
	embedded.Eventually(c.T, fmt.Sprintf("addresses %v of host Service %s", addresses, service), func(ctx context.Context) (bool, string) {
		list, err := c.Host.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service})
		if err != nil {
			return false, err.Error()
		}
		have, other := map[string]bool{}, false
		for _, s := range list.Items {
			for _, e := range s.Endpoints {
				have[e.Addresses[0]] = true
				other = other || len(s.Ports) != 1 || *s.Ports[0].Port != port
			}
		}
		got := slices.Sorted(maps.Keys(have))
		return !other && slices.Equal(got, addresses), fmt.Sprint(got, " ", len(list.Items), " slices")
	})
}

func (c *cluster) virtualService(namespace, name string) *corev1.Service {
	c.T.Helper()
	var found *corev1.Service
	embedded.Eventually(c.T, "virtual Service "+name, func(ctx context.Context) (bool, string) {
		s, err := c.Virtual.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
		found = s
		return err == nil, fmt.Sprint(err)
	})
	return found
}

func (c *cluster) serviceGone(client kubernetes.Interface, namespace, name string) {
	c.T.Helper()
	embedded.Eventually(c.T, "Service "+name+" is gone", func(ctx context.Context) (bool, string) {
		_, err := client.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
}

// event waits for an Event about an object.
func (c *cluster) event(client kubernetes.Interface, namespace, object, reason string) {
	c.T.Helper()
	embedded.Eventually(c.T, "Event "+reason+" about "+object, func(ctx context.Context) (bool, string) {
		list, err := client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + object + ",reason=" + reason})
		return err == nil && len(list.Items) > 0, fmt.Sprint(err)
	})
}

func TestHostServicesAreMapped(t *testing.T) {
	h := embedded.SharedHost(t)
	team := newHostTeam(t, h)
	ports := []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}}
	team.service("web", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: ports})
	team.slice("web", "10.9.0.1")
	team.service("db", corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Ports: ports})
	team.slice("db", "10.9.0.2")
	team.slice("db", "10.9.0.3")
	team.service("out", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "db.example.com"})
	c := newClusterWith(t, h, strings.ReplaceAll(`mapServices:
  fromHost:
  - {from: TEAM/web, to: shop/web}
  - {from: TEAM/db, to: shop/store}
  - {from: TEAM/out, to: shop/out}
  - {from: TEAM/late, to: shop/late}
`, "TEAM", team.namespace))

	web := c.virtualService("shop", "web") // and the namespace
	if web.Spec.Type != corev1.ServiceTypeClusterIP || web.Spec.Ports[0].Port != 80 || web.Spec.Ports[0].NodePort != 0 || len(web.Spec.Selector) > 0 {
		t.Errorf("virtual Service %+v", web.Spec)
	}
	c.resolves("web.shop.svc.cluster.local.", mdns.TypeA, "NOERROR", web.Spec.ClusterIP)
	c.leadTo(c.Namespace, c.HostName("shop", "web"), 8080, "10.9.0.1")
	c.resolves("store.shop.svc.cluster.local.", mdns.TypeA, "NOERROR", "10.9.0.2", "10.9.0.3")
	c.virtualService("shop", "out")
	embedded.Eventually(t, "the external name", func(ctx context.Context) (bool, string) {
		_, data, err := c.dig(ctx, "out.shop.svc.cluster.local.", mdns.TypeCNAME)
		return err == nil && slices.Contains(data, "db.example.com."), fmt.Sprint(data, err)
	})
	c.event(c.Virtual, "shop", "late", "MappedServiceMissing")

	// The other end comes, changes its address by deletion, and gets another endpoint.
	team.service("late", corev1.ServiceSpec{Ports: ports})
	late := c.virtualService("shop", "late")
	c.resolves("late.shop.svc.cluster.local.", mdns.TypeA, "NOERROR", late.Spec.ClusterIP)
	team.slice("web", "10.9.0.4")
	c.leadTo(c.Namespace, c.HostName("shop", "web"), 8080, "10.9.0.1", "10.9.0.4")
	team.delete("web")
	c.serviceGone(c.Virtual, "shop", "web")
	c.serviceGone(c.Host, c.Namespace, c.HostName("shop", "web"))
	c.resolves("web.shop.svc.cluster.local.", mdns.TypeA, "NXDOMAIN")
	team.service("web", corev1.ServiceSpec{Ports: ports})
	team.slice("web", "10.9.0.5")
	c.resolves("web.shop.svc.cluster.local.", mdns.TypeA, "NOERROR", c.virtualService("shop", "web").Spec.ClusterIP)

	// The tenant deletes a mapped Service, and has it back.
	if err := c.Virtual.CoreV1().Namespaces().Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "another Service in another namespace", func(ctx context.Context) (bool, string) {
		s, err := c.Virtual.CoreV1().Services("shop").Get(ctx, "late", metav1.GetOptions{})
		return err == nil && s.UID != late.UID, fmt.Sprint(err)
	})
	c.resolves("store.shop.svc.cluster.local.", mdns.TypeA, "NOERROR", "10.9.0.2", "10.9.0.3")

	// A mapping that is taken out of the configuration takes its Service along,
	// and nothing else.
	c.CreateService("shop", "own", corev1.ServiceSpec{Ports: ports})
	c.restartWith(t, "\nmapServices:\n  fromHost:\n  - {from: "+team.namespace+"/web, to: shop/web}\n")
	c.serviceGone(c.Virtual, "shop", "store")
	c.serviceGone(c.Virtual, "shop", "late")
	c.virtualService("shop", "web")
	c.virtualService("shop", "own")
}

// restartWith ends porticod and starts it with other mappings.
func (c *cluster) restartWith(t *testing.T, mappings string) {
	t.Helper()
	config, err := os.ReadFile(c.ConfigPath())
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(config), "mapServices:")
	if err := os.WriteFile(c.ConfigPath(), []byte(before+strings.TrimPrefix(mappings, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Process.End(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.Start()
}

func TestVirtualServicesAreMapped(t *testing.T) {
	h := embedded.SharedHost(t)
	c := newClusterWith(t, h, `mapServices:
  fromVirtual:
  - {from: shop/api, to: api}
  - {from: shop/db, to: db}
  - {from: shop/manual, to: manual}
`)
	c.event(c.Host, c.Namespace, c.Name+".anchor", "MappedServiceMissing")
	c.CreateNamespace("shop")
	ports := []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}}
	labels := map[string]string{"app": "api"}
	c.CreateService("shop", "api", corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Selector: labels, Ports: ports})
	c.CreateService("shop", "db", corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Selector: labels, Ports: ports})
	c.CreateService("shop", "manual", corev1.ServiceSpec{Ports: ports})
	c.CreatePod("shop", embedded.Pod("one", labels))
	c.CreatePod("shop", embedded.Pod("two", labels))
	c.Settled("shop", "one")
	c.Settled("shop", "two")
	ips := []string{c.HostPod("shop", "one").Status.PodIP, c.HostPod("shop", "two").Status.PodIP}

	c.leadTo(c.Namespace, "api", 8080, ips...)
	c.leadTo(c.Namespace, "db", 8080, ips...)
	api, err := c.Host.CoreV1().Services(c.Namespace).Get(t.Context(), "api", metav1.GetOptions{})
	if err != nil || api.Spec.Type != corev1.ServiceTypeClusterIP || api.Spec.ClusterIP == "" || api.Spec.Ports[0].Port != 80 {
		t.Errorf("host Service: %v %+v", err, api)
	}
	if db, err := c.Host.CoreV1().Services(c.Namespace).Get(t.Context(), "db", metav1.GetOptions{}); err != nil || db.Spec.ClusterIP != corev1.ClusterIPNone {
		t.Errorf("headless host Service: %v %+v", err, db)
	}
	c.event(c.Host, c.Namespace, c.Name+".anchor", "MappedServiceNoSelector")

	// Other ports and pods, and back; the ClusterIP of the host Service stays.
	virtual := c.virtualService("shop", "api")
	virtual.Spec.Ports[0].Port, virtual.Spec.Ports[0].TargetPort = 81, intstr.FromInt32(9090)
	if _, err := c.Virtual.CoreV1().Services("shop").Update(t.Context(), virtual, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.leadTo(c.Namespace, "api", 9090, ips...)
	after, err := c.Host.CoreV1().Services(c.Namespace).Get(t.Context(), "api", metav1.GetOptions{})
	if err != nil || after.Spec.ClusterIP != api.Spec.ClusterIP || after.Spec.Ports[0].Port != 81 {
		t.Errorf("host Service: %v %+v, want port 81 at %s", err, after, api.Spec.ClusterIP)
	}
	if err := c.Virtual.CoreV1().Services("shop").Delete(t.Context(), "api", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.serviceGone(c.Host, c.Namespace, "api")
	c.CreateService("shop", "api", corev1.ServiceSpec{Selector: labels, Ports: ports})
	c.leadTo(c.Namespace, "api", 8080, ips...)

	// No tenant sees them, and no list of the host counts them as damage.
	list, err := c.Virtual.CoreV1().Services(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list.Items {
		if s.Namespace == c.Namespace || s.Namespace == "" {
			t.Errorf("the tenant sees %s/%s", s.Namespace, s.Name)
		}
	}
	metrics, err := c.Virtual.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(metrics), `unreadable_objects_total{resource="services"}`) {
		t.Error("a mapped Service counts as an object that cannot be shown")
	}

	c.restartWith(t, "mapServices:\n  fromVirtual:\n  - {from: shop/db, to: db}\n")
	c.serviceGone(c.Host, c.Namespace, "api")
	c.leadTo(c.Namespace, "db", 8080, ips...)
}
