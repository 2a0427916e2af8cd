// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite"
)

var ingressPolicy = &rewrite.IngressPolicy{
	Classes: []string{"web"}, Hosts: []string{"*.team-a.example.com", "shop.example.com"},
	Annotations: []string{"nginx.ingress.kubernetes.io/rewrite-target", "example.com/note", "kubernetes.io/ingress.class", "portico.dev/name"},
}

func backendOf(name string) networkingv1.IngressBackend {
	return networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: name, Port: networkingv1.ServiceBackendPort{Number: 80}}}
}

// ingress routes /cart of a host name to the Service web.
func ingress(change func(*networkingv1.Ingress)) *networkingv1.Ingress {
	i := &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "i", Labels: map[string]string{"app": "x"}, Finalizers: []string{"example.com/f"}},
		Spec: networkingv1.IngressSpec{
			IngressClassName: ptr("web"),
			TLS:              []networkingv1.IngressTLS{{Hosts: []string{"app.team-a.example.com"}, SecretName: "cert"}},
			Rules: []networkingv1.IngressRule{{Host: "app.team-a.example.com", IngressRuleValue: networkingv1.IngressRuleValue{
				HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{
					{Path: "/cart", PathType: ptr(networkingv1.PathTypePrefix), Backend: backendOf("web")},
				}},
			}}},
		},
	}
	if change != nil {
		change(i)
	}
	return i
}

func TestIngressHasHostNames(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := ingress(func(i *networkingv1.Ingress) {
		i.Annotations = map[string]string{
			"nginx.ingress.kubernetes.io/rewrite-target": "/", "example.com/other": "x", "kubernetes.io/ingress.class": "other", "portico.dev/name": "neighbours",
		}
		backend := backendOf("all")
		i.Spec.DefaultBackend = &backend
		i.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: "192.0.2.1"}}
	})
	before := v.DeepCopy()
	h := tr.IngressToHost(v, ingressPolicy, rewrite.Inputs{})
	if d := diff(before, v); d != "" {
		t.Errorf("the argument has changed:\n%s", d)
	}
	if got, want := h.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name, tr.ServiceName("demo", "web"); got != want {
		t.Errorf("backend %s, want %s", got, want)
	}
	if got, want := h.Spec.DefaultBackend.Service.Name, tr.ServiceName("demo", "all"); got != want {
		t.Errorf("default backend %s, want %s", got, want)
	}
	if got, want := h.Spec.TLS[0].SecretName, tr.Name("demo", "cert"); got != want {
		t.Errorf("Secret %s, want %s", got, want)
	}
	if got := slices.Sorted(maps.Keys(h.Annotations)); !slices.Equal(got, []string{
		"nginx.ingress.kubernetes.io/rewrite-target", rewrite.AnnotationKind, rewrite.AnnotationName, rewrite.AnnotationNamespace,
	}) {
		t.Errorf("annotations %v", got)
	}
	if namespace, name, err := tr.Identify("Ingress", h); err != nil || namespace != "demo" || name != "i" {
		t.Errorf("the copy leads back to %s/%s, %v", namespace, name, err)
	}
	if _, ok := h.Labels["app"]; ok || len(h.Finalizers) != 0 || len(h.Status.LoadBalancer.Ingress) != 0 {
		t.Errorf("the copy has more than a specification: %+v, %+v", h.ObjectMeta, h.Status)
	}
	if got, want := rewrite.IngressReferences(v), []rewrite.Reference{{Kind: "Secret", Name: "cert", Optional: true}}; !slices.Equal(got, want) {
		t.Errorf("references %v", got)
	}
}

func TestIngressOfTheHost(t *testing.T) {
	if errs := ingressPolicy.Validate(ingress(nil)); len(errs) > 0 {
		t.Error(errs)
	}
	for class, want := range map[string]bool{"web": true, "other": false, "": false} {
		if got := ingressPolicy.Offered(ingress(func(i *networkingv1.Ingress) { i.Spec.IngressClassName = &class })); got != want {
			t.Errorf("class %q offered: %v", class, got)
		}
	}
	if ingressPolicy.Offered(ingress(func(i *networkingv1.Ingress) { i.Spec.IngressClassName = nil })) {
		t.Error("an Ingress without a class is offered")
	}
	for host, want := range map[string]bool{
		"shop.example.com": true, "a.team-a.example.com": true, "b.a.team-a.example.com": true, "*.team-a.example.com": true,
		"team-a.example.com": false, "xteam-a.example.com": false, "*.example.com": false, "*.shop.example.com": false,
	} {
		errs := ingressPolicy.Validate(ingress(func(i *networkingv1.Ingress) { i.Spec.Rules[0].Host = host }))
		if (len(errs) == 0) != want {
			t.Errorf("host %s: %v", host, errs)
		}
	}
	all := &rewrite.IngressPolicy{Classes: []string{"web"}, Hosts: []string{"*"}}
	everybody := ingress(func(i *networkingv1.Ingress) {
		i.Spec.Rules[0].Host, i.Spec.TLS[0].Hosts = "", nil
		backend := backendOf("web")
		i.Spec.DefaultBackend = &backend
	})
	if errs := all.Validate(everybody); len(errs) > 0 {
		t.Error(errs)
	}
}

// A tenant's Ingress takes requests of a neighbour's host name, by a rule, by a
// wildcard, by a certificate, without a name and by the default backend; it turns
// to a resource of the host, to porticod, or writes configuration of the
// controller in annotations and paths. Each is refused, and says where.
func TestAttackIngressTakesMoreThanItsHosts(t *testing.T) {
	annotated := func(key string) func(*networkingv1.Ingress) {
		return func(i *networkingv1.Ingress) { i.Annotations = map[string]string{key: "x"} }
	}
	host := func(name string) func(*networkingv1.Ingress) {
		return func(i *networkingv1.Ingress) { i.Spec.Rules[0].Host = name }
	}
	path := func(text string) func(*networkingv1.Ingress) {
		return func(i *networkingv1.Ingress) {
			i.Spec.Rules[0].HTTP.Paths[0].Path, i.Spec.Rules[0].HTTP.Paths[0].PathType = text, ptr(networkingv1.PathTypeImplementationSpecific)
		}
	}
	for name, tc := range map[string]struct {
		change func(*networkingv1.Ingress)
		at     string
	}{
		"a neighbour's name":        {host("app.team-b.example.com"), "spec.rules[0].host"},
		"names of all teams":        {host("*.example.com"), "spec.rules[0].host"},
		"a name that ends alike":    {host("evil-team-a.example.com"), "spec.rules[0].host"},
		"no name":                   {host(""), "spec.rules[0].host"},
		"a neighbour's certificate": {func(i *networkingv1.Ingress) { i.Spec.TLS[0].Hosts = []string{"app.team-b.example.com"} }, "spec.tls[0].hosts[0]"},
		"everybody's certificate":   {func(i *networkingv1.Ingress) { i.Spec.TLS[0].Hosts = nil }, "spec.tls[0].hosts"},
		"all other requests":        {func(i *networkingv1.Ingress) { b := backendOf("web"); i.Spec.DefaultBackend = &b }, "spec.defaultBackend"},
		"a resource of the host": {func(i *networkingv1.Ingress) {
			i.Spec.Rules[0].HTTP.Paths[0].Backend = networkingv1.IngressBackend{Resource: &corev1.TypedLocalObjectReference{Kind: "Bucket", Name: "b"}}
		}, "backend.resource"},
		"porticod": {func(i *networkingv1.Ingress) {
			i.Namespace = "default"
			i.Spec.Rules[0].HTTP.Paths[0].Backend = backendOf("kubernetes")
		}, "backend.service.name"},
		"a snippet":                   {annotated("nginx.ingress.kubernetes.io/configuration-snippet"), "metadata.annotations"},
		"another authority":           {annotated("nginx.ingress.kubernetes.io/auth-url"), "metadata.annotations"},
		"a class by annotation":       {annotated("kubernetes.io/ingress.class"), "metadata.annotations"},
		"the controller of another":   {annotated("traefik.ingress.kubernetes.io/router.middlewares"), "metadata.annotations"},
		"configuration in a path":     {path("/x {} } location /y { proxy_pass http://neighbour; #"), "paths[0].path"},
		"configuration in a new line": {path("/x\nlua_package_path"), "paths[0].path"},
	} {
		errs := ingressPolicy.Validate(ingress(tc.change))
		if len(errs) == 0 || !strings.Contains(errs[0].Field, tc.at) {
			t.Errorf("%s: %v, want an error at %s", name, errs, tc.at)
		}
	}
}

// A tenant's Ingress names Services and Secrets as the host does, to use those of
// another namespace, of a neighbour or of the operator. Every name becomes one of
// its own namespace.
func TestAttackIngressNamesObjectsOfOthers(t *testing.T) {
	tr := mustNew(t, testCluster())
	for _, name := range []string{tr.ServiceName("other", "web"), tr.Name("other", "cert"), "web-x-demo-x-neighbour", "operators", "other/web", "../web"} {
		h := tr.IngressToHost(ingress(func(i *networkingv1.Ingress) {
			i.Spec.Rules[0].HTTP.Paths[0].Backend, i.Spec.TLS[0].SecretName = backendOf(name), name
		}), ingressPolicy, rewrite.Inputs{})
		if got, want := h.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name, tr.ServiceName("demo", name); got != want || got == name {
			t.Errorf("Service %s is %s on the host, want %s", name, got, want)
		}
		if got, want := h.Spec.TLS[0].SecretName, tr.Name("demo", name); got != want || got == name {
			t.Errorf("Secret %s is %s on the host, want %s", name, got, want)
		}
	}
}
