// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite"
)

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
