// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/rewrite"
)

// TestIngressLeadsToAServiceOfBefore: a Service of an earlier version has a former
// name on the host, which the copy of an Ingress names. One that was made again has
// the name of today.
func TestIngressLeadsToAServiceOfBefore(t *testing.T) {
	tr, err := rewrite.New(rewrite.Cluster{
		Name: "vc", HostNamespace: "team-a", Owner: metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "vc.anchor", UID: "u"},
	})
	if err != nil {
		t.Fatal(err)
	}
	old, renewed := strings.Repeat("a", 60), strings.Repeat("b", 60)
	host := fake.NewClientset()
	for _, name := range []string{old, renewed, "short"} {
		made, err := tr.ServiceToHost(&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, Ports: []corev1.ServicePort{{Port: 80}}},
		}, rewrite.Inputs{})
		if err != nil {
			t.Fatal(err)
		}
		if former, ok := tr.FormerName("shop", name); ok && name == old {
			made.Name = former
		}
		if _, err := host.CoreV1().Services("team-a").Create(t.Context(), made, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	cfg := &config.Config{}
	cfg.Host.Namespace = "team-a"
	c := &composition{virtualCluster: &virtualCluster{config: cfg, translator: tr}, lead: leaderClients{host: host}}
	i := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "i"}}
	for _, name := range []string{old, renewed, "short", strings.Repeat("c", 60)} {
		i.Spec.Rules = append(i.Spec.Rules, networkingv1.IngressRule{IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
			Paths: []networkingv1.HTTPIngressPath{{Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: name}}}},
		}}})
	}
	in, err := c.formerServices(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	copied := tr.IngressToHost(i, &rewrite.IngressPolicy{}, in)
	for n, rule := range copied.Spec.Rules {
		name := rule.HTTP.Paths[0].Backend.Service.Name
		_, err := host.CoreV1().Services("team-a").Get(t.Context(), name, metav1.GetOptions{})
		if there := n < 3; (err == nil) != there {
			t.Errorf("backend %d is %s on the host: there %t, %v", n, name, there, err)
		}
	}
}

// TestJudgeOfIngresses: writes that the operator does not allow are refused, those
// that change nothing of it are not, and what stays inside is said.
func TestJudgeOfIngresses(t *testing.T) {
	judge := ofIngresses(&rewrite.IngressPolicy{Classes: []string{"web"}, Hosts: []string{"a.example.com"}})
	ingress := func(class, host string, change ...func(*networkingv1.Ingress)) *networkingv1.Ingress {
		i := &networkingv1.Ingress{Spec: networkingv1.IngressSpec{IngressClassName: &class, Rules: []networkingv1.IngressRule{{Host: host}}}}
		for _, f := range change {
			f(i)
		}
		return i
	}
	annotated := func(key string) func(*networkingv1.Ingress) {
		return func(i *networkingv1.Ingress) { i.Annotations = map[string]string{key: "x"} }
	}
	finalized := func(i *networkingv1.Ingress) { i.ObjectMeta = metav1.ObjectMeta{Finalizers: []string{"example.com/f"}} }
	at := func(i *networkingv1.Ingress) {
		i.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: "192.0.2.1"}}
	}
	for name, tc := range map[string]struct {
		before, after *networkingv1.Ingress
		refused, warn string
	}{
		"allowed":                   {after: ingress("web", "a.example.com")},
		"another host":              {after: ingress("web", "b.example.com"), refused: "spec.rules[0].host"},
		"changed to another host":   {before: ingress("web", "a.example.com"), after: ingress("web", "b.example.com"), refused: "spec.rules[0].host"},
		"was so before":             {before: ingress("web", "b.example.com"), after: ingress("web", "b.example.com", finalized)},
		"is deleted":                {before: ingress("web", "b.example.com")},
		"another class":             {after: ingress("own", "b.example.com"), warn: "spec.ingressClassName web"},
		"a status":                  {before: ingress("web", "a.example.com"), after: ingress("web", "a.example.com", at), refused: "is the host's"},
		"a status of another class": {before: ingress("own", "a.example.com"), after: ingress("own", "a.example.com", at)},
		"a controller's annotation": {after: ingress("web", "a.example.com", annotated("nginx.ingress.kubernetes.io/auth-url")), refused: "auth-url"},
		"an annotation":             {after: ingress("web", "a.example.com", annotated("example.com/note")), warn: "example.com/note"},
		"kubectl's annotation":      {after: ingress("web", "a.example.com", annotated("kubectl.kubernetes.io/last-applied-configuration"))},
	} {
		warnings, err := judge(tc.before, tc.after)
		if (err != nil) != (tc.refused != "") || err != nil && !strings.Contains(err.Error(), tc.refused) {
			t.Errorf("%s: refused %v, want %q", name, err, tc.refused)
		}
		if got := strings.Join(warnings, ""); (got != "") != (tc.warn != "") || !strings.Contains(got, tc.warn) {
			t.Errorf("%s: warnings %q, want %q", name, warnings, tc.warn)
		}
	}
}
