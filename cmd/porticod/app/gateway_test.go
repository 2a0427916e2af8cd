// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/rewrite/marks"
)

// The door's certificate has the names of the gateway that is announced now, and
// keeps them while the host does not answer.
func TestGatewayNames(t *testing.T) {
	host := fake.NewClientset()
	g := &gatewayNames{host: host, cluster: "shop", namespace: "team-a"}
	maps := host.CoreV1().ConfigMaps(metav1.NamespacePublic)
	var refusal error
	host.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) { return refusal != nil, nil, refusal })
	read := func(what string, changed bool, want ...string) {
		t.Helper()
		if got := g.read(t.Context()); got != changed || !slices.Equal(g.Names(), want) {
			t.Errorf("%s: changed %t, names %v; want %t, %v", what, got, g.Names(), changed, want)
		}
	}
	read("no gateway", false)
	announcement := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: marks.GatewayName}, Data: map[string]string{"domains": "gw.example"}}
	if _, err := maps.Create(t.Context(), announcement, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	read("a gateway", true, "shop.team-a.gw.example")
	read("the same", false, "shop.team-a.gw.example")
	refusal = errors.New("timed out")
	read("no answer", false, "shop.team-a.gw.example")
	refusal = apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, marks.GatewayName, nil)
	read("not for us", true)
}
