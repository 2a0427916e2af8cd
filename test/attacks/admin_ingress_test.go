// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"context"
	"fmt"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"portico.dev/portico/test/embedded"
)

// The administrator takes a neighbour's host name with an Ingress, and, when that
// is refused, writes it as porticod itself, whose writes are not judged, by
// impersonation. The host has no such Ingress, and the Ingress has an Event.
func TestAttackIngressOfANeighboursHostName(t *testing.T) {
	c := embedded.NewClusterWith(t, embedded.SharedHost(t),
		"sync: {toHost: {ingresses: {enabled: true, classes: [web], allowedHosts: ['*.team-a.example.com']}}}\n")
	ctx := t.Context()
	c.CreateNamespace("a")
	ingress := &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Name: "i"},
		Spec:       networkingv1.IngressSpec{IngressClassName: ptr.To("web"), Rules: []networkingv1.IngressRule{{Host: "app.team-b.example.com"}}},
	}
	if _, err := c.Virtual.NetworkingV1().Ingresses("a").Create(ctx, ingress, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("as the administrator: %v, want 403", err)
	}
	config := rest.CopyConfig(c.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:apiserver", Groups: []string{"system:masters"}}
	porticod, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := porticod.NetworkingV1().Ingresses("a").Create(ctx, ingress, metav1.CreateOptions{}); apierrors.IsForbidden(err) {
		return // not even so
	} else if err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "Event about the Ingress", func(ctx context.Context) (bool, string) {
		events, err := c.Virtual.CoreV1().Events("a").List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=i,reason=NotOnHost"})
		return err == nil && len(events.Items) > 0, fmt.Sprint(err)
	})
	host, err := c.Host.NetworkingV1().Ingresses(c.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil || len(host.Items) != 0 {
		t.Errorf("the host has %d Ingresses, %v", len(host.Items), err)
	}
}
