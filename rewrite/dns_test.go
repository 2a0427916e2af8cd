// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"portico.dev/portico/rewrite"
)

// dnsCluster has a DNS behind the given host selector.
func dnsCluster(selector map[string]string) rewrite.Cluster {
	c := testCluster()
	c.DNS = &rewrite.DNS{Selector: selector, TargetPort: 1053}
	return c
}

func TestTheDNSServiceLeadsWhereTheInstallationSays(t *testing.T) {
	door := map[string]string{rewrite.Prefix + "door": "my-vcluster"}
	pods := map[string]string{"k8s-app": "kube-dns", rewrite.LabelCluster: "my-vcluster", rewrite.LabelNamespace: "kube-system"}
	for name, selector := range map[string]map[string]string{"outside": nil, "inside": door, "deployment": pods} {
		t.Run(name, func(t *testing.T) {
			tr := mustNew(t, dnsCluster(selector))
			h := toHost(t, tr, tr.DNSService(), testInputs()).(*corev1.Service)
			if d := diff(selector, h.Spec.Selector); d != "" || h.Name != "kube-dns-x-kube-system-x-my-vcluster" {
				t.Errorf("%s selects (-want +got):\n%s", h.Name, d)
			}
			if h.Spec.ClusterIP != "10.96.7.10" || len(h.Spec.Ports) != 2 || h.Spec.Ports[0].TargetPort.IntVal != 1053 {
				t.Errorf("spec %+v", h.Spec)
			}
			v := toVirtual(t, tr, h).(*corev1.Service)
			if d := diff(wireObject(t, tr.DNSService()), v); d != "" {
				t.Errorf("what the tenant sees (-want +got):\n%s", d)
			}
		})
	}
}

// A user who leads kube-dns elsewhere answers the questions of every pod of the
// cluster, and one label on a pod of another namespace would do.
func TestTheDNSServiceCannotBeRedirected(t *testing.T) {
	for name, selector := range map[string]map[string]string{"outside": nil, "inside": {rewrite.Prefix + "door": "my-vcluster"}} {
		tr := mustNew(t, dnsCluster(selector))
		host := toHost(t, tr, tr.DNSService(), testInputs()).(*corev1.Service)
		host.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol} // as the host fills in
		for attack, change := range map[string]func(*corev1.ServiceSpec){
			"selector":      func(s *corev1.ServiceSpec) { s.Selector = map[string]string{"app": "mine"} },
			"no selector":   func(s *corev1.ServiceSpec) { s.Selector = nil },
			"reserved key":  func(s *corev1.ServiceSpec) { s.Selector = map[string]string{rewrite.LabelCluster: "other"} },
			"target port":   func(s *corev1.ServiceSpec) { s.Ports[0].TargetPort = intstr.FromInt32(5353) },
			"ports":         func(s *corev1.ServiceSpec) { s.Ports = []corev1.ServicePort{{Name: "x", Port: 80}} },
			"address":       func(s *corev1.ServiceSpec) { s.ClusterIP, s.ClusterIPs = "10.96.1.1", []string{"10.96.1.1"} },
			"external IPs":  func(s *corev1.ServiceSpec) { s.ExternalIPs = []string{"192.0.2.1"} },
			"local traffic": func(s *corev1.ServiceSpec) { s.InternalTrafficPolicy = ptr(corev1.ServiceInternalTrafficPolicyLocal) },
			"another kind": func(s *corev1.ServiceSpec) {
				*s = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "evil.example"}
			},
		} {
			t.Run(name+"/"+attack, func(t *testing.T) {
				v := toVirtual(t, tr, host).(*corev1.Service)
				change(&v.Spec)
				in := testInputs()
				in.Host = host
				after := toHost(t, tr, v, in).(*corev1.Service)
				if d := diff(host.Spec, after.Spec); d != "" {
					t.Errorf("update (-want +got):\n%s", d)
				}
				v = tr.DNSService()
				change(&v.Spec)
				made := toHost(t, tr, v, testInputs()).(*corev1.Service)
				want := toHost(t, tr, tr.DNSService(), testInputs()).(*corev1.Service)
				if d := diff(want.Spec, made.Spec); d != "" {
					t.Errorf("create (-want +got):\n%s", d)
				}
			})
		}
	}
}

func TestMetadataOfTheDNSServiceIsTheTenants(t *testing.T) {
	tr := mustNew(t, dnsCluster(nil))
	h := toHost(t, tr, tr.DNSService(), testInputs())
	v := toVirtual(t, tr, h).(*corev1.Service)
	v.Annotations = map[string]string{"a": "b"}
	v.Spec.Selector = map[string]string{"lost": "in silence"}
	in := testInputs()
	in.Host = h
	got := toVirtual(t, tr, toHost(t, tr, v, in)).(*corev1.Service)
	if got.Annotations["a"] != "b" || got.Spec.Selector["k8s-app"] != "kube-dns" {
		t.Errorf("annotations %v, selector %v", got.Annotations, got.Spec.Selector)
	}
}

// The names alone mean nothing: not in another namespace, and not while the
// DNS is off.
func TestOnlyTheDNSServiceIsHeld(t *testing.T) {
	own := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-dns"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "dns"}, Ports: []corev1.ServicePort{{Port: 53}}},
	}
	off := mustNew(t, testCluster())
	if h := toHost(t, off, own, testInputs()).(*corev1.Service); h.Spec.Selector["app"] != "dns" || off.OwnsDNS("kube-system", "kube-dns") {
		t.Errorf("without a DNS of ours: %+v", h.Spec)
	}
	own.Namespace = "default"
	if h := toHost(t, mustNew(t, dnsCluster(nil)), own, testInputs()).(*corev1.Service); h.Spec.Selector["app"] != "dns" {
		t.Errorf("in another namespace: %+v", h.Spec)
	}
}

func TestDNSNeedsAPort(t *testing.T) {
	c := testCluster()
	c.DNS = &rewrite.DNS{}
	if _, err := rewrite.New(c); err == nil {
		t.Error("port 0 was accepted")
	}
}
