// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/test/embedded"
)

// dnsService is the host Service of the cluster's DNS.
func (c *cluster) dnsService() *corev1.Service {
	c.T.Helper()
	svc, err := c.Host.CoreV1().Services(c.Namespace).Get(c.T.Context(), c.HostName("kube-system", "kube-dns"), metav1.GetOptions{})
	if err != nil {
		c.T.Fatalf("host Service of the DNS: %v", err)
	}
	return svc
}

// dig asks the cluster's DNS at its own port: nothing routes to a ClusterIP of
// the embedded host. It returns the data of A, CNAME, SRV and PTR answers.
func (c *cluster) dig(ctx context.Context, name string, qtype uint16) (rcode string, data []string, err error) {
	port := c.dnsService().Spec.Ports[0].TargetPort.IntValue()
	client := mdns.Client{Timeout: 5 * time.Second}
	m, _, err := client.ExchangeContext(ctx, new(mdns.Msg).SetQuestion(name, qtype), net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return "", nil, err
	}
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *mdns.A:
			data = append(data, rr.A.String())
		case *mdns.CNAME:
			data = append(data, rr.Target)
		case *mdns.SRV:
			data = append(data, fmt.Sprintf("%d %s", rr.Port, rr.Target))
		case *mdns.PTR:
			data = append(data, rr.Ptr)
		}
	}
	slices.Sort(data)
	return mdns.RcodeToString[m.Rcode], data, nil
}

func (c *cluster) resolves(name string, qtype uint16, rcode string, want ...string) {
	c.T.Helper()
	slices.Sort(want)
	embedded.Eventually(c.T, "answer for "+name, func(ctx context.Context) (bool, string) {
		got, data, err := c.dig(ctx, name, qtype)
		return err == nil && got == rcode && slices.Equal(data, want), fmt.Sprint(got, data, err)
	})
}

func TestNamesOfTheClusterResolve(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("shop")
	labels := map[string]string{"app": "db"}
	ports := []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}}
	web := c.CreateService("shop", "web", corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: ports})
	c.CreateService("shop", "db", corev1.ServiceSpec{ClusterIP: "None", Selector: labels, Ports: ports})
	c.CreateService("shop", "alias", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "web.shop.svc.cluster.local"})
	replicas := int32(2)
	_, err := c.Virtual.AppsV1().StatefulSets("shop").Create(t.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "db"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, ServiceName: "db", Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: embedded.Pod("", nil).Spec},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ips := map[string]string{}
	embedded.Eventually(t, "pods of the StatefulSet", func(ctx context.Context) (bool, string) {
		pods, err := c.Virtual.CoreV1().Pods("shop").List(ctx, metav1.ListOptions{LabelSelector: "app=db"})
		if err != nil {
			return false, err.Error()
		}
		for _, p := range pods.Items {
			if p.Status.PodIP != "" {
				ips[p.Name] = p.Status.PodIP
			}
		}
		return len(ips) == 2, fmt.Sprint(ips)
	})

	check := func(t *testing.T) {
		t.Helper()
		c.resolves("web.shop.svc.cluster.local.", mdns.TypeA, "NOERROR", web.Spec.ClusterIP)
		c.resolves("kubernetes.default.svc.cluster.local.", mdns.TypeA, "NOERROR", c.kubernetesIP())
		c.resolves("kube-dns.kube-system.svc.cluster.local.", mdns.TypeA, "NOERROR", c.dnsService().Spec.ClusterIP)
		c.resolves("db.shop.svc.cluster.local.", mdns.TypeA, "NOERROR", ips["db-0"], ips["db-1"])
		c.resolves("db-1.db.shop.svc.cluster.local.", mdns.TypeA, "NOERROR", ips["db-1"])
		c.resolves("_http._tcp.db.shop.svc.cluster.local.", mdns.TypeSRV, "NOERROR", "8080 db-0.db.shop.svc.cluster.local.", "8080 db-1.db.shop.svc.cluster.local.")
		c.resolves("alias.shop.svc.cluster.local.", mdns.TypeA, "NOERROR", web.Spec.ClusterIP, "web.shop.svc.cluster.local.")
		reverse, err := mdns.ReverseAddr(web.Spec.ClusterIP)
		if err != nil {
			t.Fatal(err)
		}
		c.resolves(reverse, mdns.TypePTR, "NOERROR", "web.shop.svc.cluster.local.")
		c.resolves("web.nowhere.svc.cluster.local.", mdns.TypeA, "NXDOMAIN")
		// A name of the host, whose zone has the same name.
		c.resolves(c.HostName("shop", "web")+"."+c.Namespace+".svc.cluster.local.", mdns.TypeA, "NXDOMAIN")
	}
	check(t)
	t.Run("after a kill", func(t *testing.T) {
		before := c.dnsService().Spec.ClusterIP
		c.Kill()
		c.Start()
		check(t)
		if after := c.dnsService().Spec.ClusterIP; after != before {
			t.Errorf("the address was %s and is %s", before, after)
		}
	})
}

func (c *cluster) kubernetesIP() string {
	c.T.Helper()
	svc, err := c.Virtual.CoreV1().Services("default").Get(c.T.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil {
		c.T.Fatal(err)
	}
	return svc.Spec.ClusterIP
}

// The very first pod has it, too.
func TestPodsAskTheClustersDNS(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("shop")
	c.CreatePod("shop", embedded.Pod("p", nil))
	h, err := c.Host.CoreV1().Pods(c.Namespace).Get(t.Context(), c.HostName("shop", "p"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d := h.Spec.DNSConfig
	if h.Spec.DNSPolicy != corev1.DNSNone || d == nil || !slices.Equal(d.Nameservers, []string{c.dnsService().Spec.ClusterIP}) || d.Searches[0] != "shop.svc.cluster.local" {
		t.Errorf("policy %s, config %+v", h.Spec.DNSPolicy, d)
	}
	v, err := c.Virtual.CoreV1().Pods("shop").Get(t.Context(), "p", metav1.GetOptions{})
	if err != nil || v.Spec.DNSPolicy != corev1.DNSClusterFirst || v.Spec.DNSConfig != nil {
		t.Errorf("the tenant sees policy %s, config %+v (%v)", v.Spec.DNSPolicy, v.Spec.DNSConfig, err)
	}
}

// A tenant who leads kube-dns elsewhere would answer for all pods.
func TestTenantCannotRedirectTheDNS(t *testing.T) {
	c := newCluster(t)
	services := c.Virtual.CoreV1().Services("kube-system")
	before := c.dnsService()
	seen, err := services.Get(t.Context(), "kube-dns", metav1.GetOptions{})
	if err != nil || seen.Spec.Selector["k8s-app"] != "kube-dns" || len(seen.Spec.Ports) != 2 {
		t.Fatalf("the tenant sees %+v (%v)", seen, err)
	}
	for name, patch := range map[string]string{
		"selector":     `{"spec":{"selector":{"app":"mine"}}}`,
		"no selector":  `{"spec":{"selector":null}}`,
		"target port":  `[{"op":"replace","path":"/spec/ports/0/targetPort","value":5353}]`,
		"external IPs": `{"spec":{"externalIPs":["192.0.2.1"]}}`,
		"another kind": `{"spec":{"type":"ExternalName","externalName":"evil.example","clusterIP":"","clusterIPs":null}}`,
	} {
		t.Run(name, func(t *testing.T) {
			kind := types.MergePatchType
			if strings.HasPrefix(patch, "[") {
				kind = types.JSONPatchType
			}
			// Refused or without effect, as the API's validation and admission have it.
			if _, err := services.Patch(t.Context(), "kube-dns", kind, []byte(patch), metav1.PatchOptions{}); err != nil && !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) {
				t.Errorf("patch: %v", err)
			}
			if d := cmp.Diff(before.Spec, c.dnsService().Spec); d != "" {
				t.Errorf("on the host (-want +got):\n%s", d)
			}
		})
	}
	t.Run("endpoints", func(t *testing.T) {
		_, err := c.Virtual.DiscoveryV1().EndpointSlices("kube-system").Create(t.Context(), &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Name: "mine", Labels: map[string]string{discoveryv1.LabelServiceName: "kube-dns"}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{evil}}},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		hosts, err := c.Host.DiscoveryV1().EndpointSlices(c.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + before.Name})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range hosts.Items {
			for _, e := range s.Endpoints {
				if slices.Contains(e.Addresses, evil) {
					t.Errorf("the tenant's endpoint is behind the DNS: %+v", s)
				}
			}
		}
	})
	t.Run("deleted by the tenant", func(t *testing.T) {
		if err := services.Delete(t.Context(), "kube-dns", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("delete: %v, want 403", err)
		}
	})
	hosts := c.Host.CoreV1().Services(c.Namespace)
	t.Run("deleted by the host", func(t *testing.T) {
		if err := hosts.Delete(t.Context(), before.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		c.backAtItsAddress(before)
	})
	t.Run("made at another address", func(t *testing.T) {
		before := c.dnsService()
		if err := hosts.Delete(t.Context(), before.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		// With either one first, the outcome is the same.
		_, err := services.Create(t.Context(), &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: "kube-dns"},
			Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "mine"}, Ports: []corev1.ServicePort{{Port: 53}}},
		}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) && !apierrors.IsInvalid(err) {
			t.Errorf("create: %v", err)
		}
		c.backAtItsAddress(before)
	})
	c.resolves("kubernetes.default.svc.cluster.local.", mdns.TypeA, "NOERROR", c.kubernetesIP())
}

func (c *cluster) backAtItsAddress(before *corev1.Service) {
	c.T.Helper()
	embedded.Eventually(c.T, "the Service of the DNS", func(ctx context.Context) (bool, string) {
		svc, err := c.Host.CoreV1().Services(c.Namespace).Get(ctx, before.Name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		same := svc.UID != before.UID && svc.Spec.ClusterIP == before.Spec.ClusterIP &&
			fmt.Sprint(svc.Spec.Ports, svc.Spec.Selector) == fmt.Sprint(before.Spec.Ports, before.Spec.Selector)
		return same, fmt.Sprintf("%+v", svc.Spec)
	})
}

// evil is an address that a tenant would like the DNS to be at.
const evil = "198.51.100.66"

// A Deployment is the DNS where the configuration says so; the Corefile is the
// tenant's from then on.
func TestDNSByADeployment(t *testing.T) {
	c := newClusterWith(t, embedded.SharedHost(t), "coredns:\n  mode: deployment\n  replicas: 2\n  image: coredns:test\n")
	embedded.Eventually(t, "pods of the DNS", func(ctx context.Context) (bool, string) {
		d, err := c.Virtual.AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return d.Status.AvailableReplicas == 2 && d.Spec.Template.Spec.Containers[0].Image == "coredns:test", fmt.Sprintf("%+v", d.Status)
	})
	svc := c.dnsService()
	want := map[string]string{"k8s-app": "kube-dns", rewrite.LabelCluster: c.Name, rewrite.LabelNamespace: "kube-system"}
	if fmt.Sprint(svc.Spec.Selector) != fmt.Sprint(want) || svc.Spec.Ports[0].TargetPort.IntValue() != 53 {
		t.Errorf("host Service selects %v, ports %v", svc.Spec.Selector, svc.Spec.Ports)
	}
	embedded.Eventually(t, "two endpoints on the host", func(ctx context.Context) (bool, string) {
		slices, err := c.Host.DiscoveryV1().EndpointSlices(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + svc.Name})
		if err != nil {
			return false, err.Error()
		}
		n := 0
		for _, s := range slices.Items {
			n += len(s.Endpoints)
		}
		return n == 2, fmt.Sprint(n)
	})

	configs := c.Virtual.CoreV1().ConfigMaps("kube-system")
	if _, err := configs.Patch(t.Context(), "coredns", types.MergePatchType, []byte(`{"data":{"Corefile":"mine"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Virtual.AppsV1().Deployments("kube-system").Delete(t.Context(), "coredns", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "the Deployment again", func(ctx context.Context) (bool, string) {
		d, err := c.Virtual.AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
		return err == nil && d.DeletionTimestamp == nil, fmt.Sprint(err)
	})
	if config, err := configs.Get(t.Context(), "coredns", metav1.GetOptions{}); err != nil || config.Data["Corefile"] != "mine" {
		t.Errorf("the tenant's Corefile is %v (%v)", config.Data, err)
	}
}

func TestWithoutADNSPodsUseTheHosts(t *testing.T) {
	c := newClusterWith(t, embedded.SharedHost(t), "coredns: {enabled: false}\n")
	c.CreateNamespace("shop")
	c.CreatePod("shop", embedded.Pod("p", nil))
	h, err := c.Host.CoreV1().Pods(c.Namespace).Get(t.Context(), c.HostName("shop", "p"), metav1.GetOptions{})
	if err != nil || h.Spec.DNSPolicy != corev1.DNSClusterFirst {
		t.Errorf("policy %s (%v)", h.Spec.DNSPolicy, err)
	}
	if _, err := c.Virtual.CoreV1().Services("kube-system").Get(t.Context(), "kube-dns", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("kube-dns: %v, want not found", err)
	}
}
