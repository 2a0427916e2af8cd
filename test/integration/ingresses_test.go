// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"portico.dev/portico/test/embedded"
)

const withIngresses = `sync:
  toHost:
    ingresses:
      enabled: true
      classes: [web]
      allowedHosts: ["*.team-a.example.com"]
      annotations: [nginx.ingress.kubernetes.io/rewrite-target]
`

// shopIngress routes a host name to a Service of the namespace, with a certificate.
func shopIngress(name, host string) *networkingv1.Ingress {
	return &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: networkingv1.IngressSpec{
			IngressClassName: ptr.To("web"),
			TLS:              []networkingv1.IngressTLS{{Hosts: []string{host}, SecretName: "cert"}},
			Rules: []networkingv1.IngressRule{{Host: host, IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
				Paths: []networkingv1.HTTPIngressPath{{
					Path: "/", PathType: ptr.To(networkingv1.PathTypePrefix),
					Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "web", Port: networkingv1.ServiceBackendPort{Number: 80}}},
				}},
			}}}},
		},
	}
}

// TestIngressReachesTheHost with Services and Secrets that are there, shows where
// the host lets requests in, and goes with its class, or with the object.
func TestIngressReachesTheHost(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), withIngresses)
	client, warnings := warnedClient(t, c)
	ctx := t.Context()
	c.CreateNamespace("shop")
	web := c.CreateService("shop", "web", corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}}})
	ingresses, hostIngresses := client.NetworkingV1().Ingresses("shop"), c.Host.NetworkingV1().Ingresses(c.Namespace)
	if _, err := ingresses.Create(ctx, shopIngress("i", "app.team-a.example.com"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Secrets("shop").Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "cert"}, Data: map[string][]byte{"a": []byte("1")},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(warnings.texts) != 0 {
		t.Errorf("warnings %q", warnings.texts)
	}
	var host *networkingv1.Ingress
	embedded.Eventually(t, "Ingress on the host", func(ctx context.Context) (bool, string) {
		var err error
		host, err = hostIngresses.Get(ctx, c.HostName("shop", "i"), metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})
	backend := host.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name
	if s, err := c.Host.CoreV1().Services(c.Namespace).Get(ctx, backend, metav1.GetOptions{}); err != nil || s.UID != web.UID {
		t.Errorf("backend %s on the host: %v", backend, err)
	}
	secretThere := func(there bool) {
		t.Helper()
		embedded.Eventually(t, fmt.Sprintf("Secret on the host: %v", there), func(ctx context.Context) (bool, string) {
			_, err := c.Host.CoreV1().Secrets(c.Namespace).Get(ctx, host.Spec.TLS[0].SecretName, metav1.GetOptions{})
			return there == (err == nil), fmt.Sprint(err)
		})
	}
	secretThere(true)

	host.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: "192.0.2.10"}}
	if _, err := hostIngresses.UpdateStatus(ctx, host, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "address shown inside", func(ctx context.Context) (bool, string) {
		i, err := ingresses.Get(ctx, "i", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return len(i.Status.LoadBalancer.Ingress) == 1 && i.Status.LoadBalancer.Ingress[0].IP == "192.0.2.10", fmt.Sprintf("%+v", i.Status)
	})
	patch := func(body string) error {
		_, err := ingresses.Patch(ctx, "i", types.MergePatchType, []byte(body), metav1.PatchOptions{})
		return err
	}
	if err := patch(`{"metadata":{"annotations":{"nginx.ingress.kubernetes.io/rewrite-target":"/x"}}}`); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "annotation on the host", func(ctx context.Context) (bool, string) {
		i, err := hostIngresses.Get(ctx, host.Name, metav1.GetOptions{})
		return err == nil && i.Annotations["nginx.ingress.kubernetes.io/rewrite-target"] == "/x", fmt.Sprint(i, err)
	})
	if err := patch(`{"spec":{"ingressClassName":"own"}}`); err != nil {
		t.Fatal(err)
	}
	if len(warnings.texts) != 1 || !strings.Contains(warnings.texts[0], "spec.ingressClassName web") {
		t.Errorf("warnings about another class: %q", warnings.texts)
	}
	embedded.Eventually(t, "copy gone from the host", func(ctx context.Context) (bool, string) {
		_, err := hostIngresses.Get(ctx, host.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
	if i, err := ingresses.Get(ctx, "i", metav1.GetOptions{}); err != nil || len(i.Status.LoadBalancer.Ingress) != 0 {
		t.Errorf("the host's address is still shown: %+v, %v", i.Status, err)
	}
	secretThere(false)
}

// TestIngressThatTheOperatorDoesNotAllowIsRefused at the write, made or changed,
// and nothing of it is on the host.
func TestIngressThatTheOperatorDoesNotAllowIsRefused(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), withIngresses)
	ctx := t.Context()
	c.CreateNamespace("shop")
	ingresses := c.Virtual.NetworkingV1().Ingresses("shop")
	_, err := ingresses.Create(ctx, shopIngress("i", "app.team-b.example.com"), metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "app.team-b.example.com is not among those") {
		t.Errorf("a neighbour's host name: %v", err)
	}
	if _, err := ingresses.Create(ctx, shopIngress("i", "app.team-a.example.com"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{
		"a snippet":      `{"metadata":{"annotations":{"nginx.ingress.kubernetes.io/configuration-snippet":"x"}}}`,
		"all requests":   `{"spec":{"defaultBackend":{"service":{"name":"web","port":{"number":80}}}}}`,
		"another's name": `{"spec":{"rules":[{"host":"app.team-b.example.com"}]}}`,
	} {
		if _, err := ingresses.Patch(ctx, "i", types.MergePatchType, []byte(body), metav1.PatchOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v, want 403", name, err)
		}
	}
	status := `{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.66"}]}}}`
	if _, err := ingresses.Patch(ctx, "i", types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status"); !apierrors.IsForbidden(err) {
		t.Errorf("a status of the tenant's: %v, want 403", err)
	}
	if err := ingresses.Delete(ctx, "i", metav1.DeleteOptions{}); err != nil {
		t.Errorf("deletion: %v", err)
	}
}
