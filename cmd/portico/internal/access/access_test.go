// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"maps"
	"net"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	authenticationv1 "k8s.io/api/authentication/v1"
)

func service(kind corev1.ServiceType, port int32, ingress ...corev1.LoadBalancerIngress) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "vc"},
		Spec:       corev1.ServiceSpec{Type: kind, Ports: []corev1.ServicePort{{Port: 443, NodePort: port}}},
		Status:     corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: ingress}},
	}
}

func ingress(name string, labels map[string]string) *networkingv1.Ingress {
	return &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: labels},
		Spec:       networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{Host: name + ".example.com"}}},
	}
}

func gateway(address string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-public", Name: "portico-gateway"}, Data: map[string]string{"address": address}}
}

// node answers on one port of the loopback address.
func node(t *testing.T) (*corev1.Node, int32) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: "127.0.0.1"},
	}}}, int32(l.Addr().(*net.TCPAddr).Port)
}

func TestFind(t *testing.T) {
	n, open := node(t)
	ours := map[string]string{"app.kubernetes.io/name": "portico", "app.kubernetes.io/instance": "vc"}
	for name, tc := range map[string]struct {
		objects []runtime.Object
		want    string // the URL
		server  string // the name in the certificate
		pending bool
	}{
		"a Service for the host only: a port is forwarded": {objects: []runtime.Object{service(corev1.ServiceTypeClusterIP, 0)}},
		"a load balancer's address":                        {objects: []runtime.Object{service(corev1.ServiceTypeLoadBalancer, 0, corev1.LoadBalancerIngress{IP: "192.0.2.1"})}, want: "https://192.0.2.1:443"},
		"a load balancer's IPv6 address":                   {objects: []runtime.Object{service(corev1.ServiceTypeLoadBalancer, 0, corev1.LoadBalancerIngress{IP: "2001:db8::1"})}, want: "https://[2001:db8::1]:443"},
		"a load balancer's name":                           {objects: []runtime.Object{service(corev1.ServiceTypeLoadBalancer, 0, corev1.LoadBalancerIngress{Hostname: "lb.example.com"})}, want: "https://lb.example.com:443"},
		"a load balancer that has not answered":            {objects: []runtime.Object{service(corev1.ServiceTypeLoadBalancer, 0)}, pending: true},
		"a node port that answers":                         {objects: []runtime.Object{service(corev1.ServiceTypeNodePort, open), n}, want: url("127.0.0.1", open), server: "vc.ns.svc"},
		"a node port that does not":                        {objects: []runtime.Object{service(corev1.ServiceTypeNodePort, 1), n}},
		"a gateway":                                        {objects: []runtime.Object{service(corev1.ServiceTypeClusterIP, 0), gateway("gw.example.com:8443")}, want: "https://gw.example.com:8443", server: "vc.ns.svc"},
		"a gateway's IPv6 address":                         {objects: []runtime.Object{service(corev1.ServiceTypeClusterIP, 0), gateway("[2001:db8::1]:443")}, want: "https://[2001:db8::1]:443", server: "vc.ns.svc"},
		"a gateway without a port":                         {objects: []runtime.Object{service(corev1.ServiceTypeClusterIP, 0), gateway("gw.example.com")}},
		"a gateway, and an address of its own":             {objects: []runtime.Object{service(corev1.ServiceTypeClusterIP, 0), gateway("gw.example.com:443"), ingress("vc", ours)}, want: "https://vc.example.com"},
		"an Ingress":                                       {objects: []runtime.Object{service(corev1.ServiceTypeClusterIP, 0), ingress("vc", ours)}, want: "https://vc.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			got, pending, err := Find(t.Context(), fake.NewClientset(tc.objects...), "ns", "vc")
			if err != nil {
				t.Fatal(err)
			}
			if got.URL != tc.want || got.ServerName != tc.server || (pending != "") != tc.pending {
				t.Errorf("%+v, pending %q; want %q, name %q, pending %v", got, pending, tc.want, tc.server, tc.pending)
			}
		})
	}
}

// TestAttackIngressOfATenant: a tenant gives an Ingress of their own the labels of
// the chart's, so that the administrator's credentials go to an address of the
// tenant's choice. It is not taken for the chart's, also where that is there.
func TestAttackIngressOfATenant(t *testing.T) {
	ours := map[string]string{"app.kubernetes.io/name": "portico", "app.kubernetes.io/instance": "vc"}
	tenants := maps.Clone(ours)
	tenants["portico.dev/namespace"] = "default"
	for reason, tc := range map[string]struct {
		objects []runtime.Object
		want    string
	}{
		"alone":                  {[]runtime.Object{ingress("evil", tenants)}, ""},
		"next to the chart's":    {[]runtime.Object{ingress("evil", tenants), ingress("vc", ours)}, "https://vc.example.com"},
		"listed after the chart": {[]runtime.Object{ingress("vc", ours), ingress("zzz", tenants)}, "https://vc.example.com"},
	} {
		t.Run(reason, func(t *testing.T) {
			objects := append(tc.objects, service(corev1.ServiceTypeClusterIP, 0))
			got, pending, err := Find(t.Context(), fake.NewClientset(objects...), "ns", "vc")
			if err != nil || got.URL != tc.want || got.ServerName != "" || pending != "" {
				t.Errorf("%+v, pending %q, %v; want %q", got, pending, err, tc.want)
			}
		})
	}
}

func TestAdministratorWantsTheWholeSecret(t *testing.T) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "pc-vc"}, Data: map[string][]byte{"certificate-authority": []byte("ca"), "client-certificate": []byte("cert")}}
	client := fake.NewClientset()
	if _, there, err := Administrator(t.Context(), client, "ns", "vc"); err != nil || there {
		t.Errorf("no Secret: there %v, %v", there, err)
	}
	if err := client.Tracker().Add(secret); err != nil {
		t.Fatal(err)
	}
	if _, there, err := Administrator(t.Context(), client, "ns", "vc"); err != nil || there {
		t.Errorf("half a Secret: there %v, %v", there, err)
	}
	secret.Data["client-key"] = []byte("key")
	if err := client.Tracker().Update(corev1.SchemeGroupVersion.WithResource("secrets"), secret, "ns"); err != nil {
		t.Fatal(err)
	}
	c, there, err := Administrator(t.Context(), client, "ns", "vc")
	if err != nil || !there || string(c.CA) != "ca" || string(c.Cert) != "cert" || string(c.Key) != "key" {
		t.Errorf("a Secret: %+v, there %v, %v", c, there, err)
	}
}

func TestTokenMakesWhatIsNotThere(t *testing.T) {
	client := fake.NewClientset()
	var asked *authenticationv1.TokenRequest
	client.PrependReactor("create", "serviceaccounts", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetSubresource() != "token" {
			return false, nil, nil
		}
		asked = a.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenRequest)
		return true, &authenticationv1.TokenRequest{Status: authenticationv1.TokenRequestStatus{Token: "token"}}, nil
	})
	for range 2 {
		token, err := Token(t.Context(), client, ServiceAccount{Name: "team/ci", ClusterRole: "view", Life: longest})
		if err != nil || token != "token" {
			t.Fatalf("token %q, %v", token, err)
		}
	}
	if got := *asked.Spec.ExpirationSeconds; got != int64(longest.Seconds()) {
		t.Errorf("a life of %d seconds", got)
	}
	if _, err := client.CoreV1().ServiceAccounts("team").Get(t.Context(), "ci", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	bindings, err := client.RbacV1().ClusterRoleBindings().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(bindings.Items) != 1 || bindings.Items[0].RoleRef.Name != "view" || !strings.Contains(bindings.Items[0].Name, "team:ci") {
		t.Errorf("bindings: %+v, %v", bindings.Items, err)
	}
}
