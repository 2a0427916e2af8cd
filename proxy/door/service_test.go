// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"portico.dev/portico/proxy/door"
	"portico.dev/portico/rewrite"
)

var outside = door.Options{
	Cluster: "vc", Namespace: hostNamespace, ServiceAccount: "vc-workload", TargetPort: 8443, Advertise: netip.MustParseAddr("192.0.2.7"),
}

func TestEnsureServiceOutsideTheHost(t *testing.T) {
	client := fake.NewClientset()
	for range 2 { // the second time it is all there
		d, err := door.EnsureService(t.Context(), client, outside)
		if err != nil {
			t.Fatal(err)
		}
		if d.Owner.Kind != "ConfigMap" || d.Owner.Name != "vc.anchor" {
			t.Errorf("owner %+v", d.Owner)
		}
	}
	svc, err := client.CoreV1().Services(hostNamespace).Get(t.Context(), "vc", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{rewrite.LabelCluster: "vc", rewrite.LabelNamespace: "default"}
	if diff := cmp.Diff(want, svc.Labels); diff != "" || svc.Spec.Selector != nil {
		t.Errorf("labels (-want +got):\n%s selector %v", diff, svc.Spec.Selector)
	}
	moved := outside
	moved.Advertise, moved.TargetPort = netip.MustParseAddr("192.0.2.8"), 9443
	if _, err := door.EnsureService(t.Context(), client, moved); err != nil {
		t.Fatal(err)
	}
	slice, err := client.DiscoveryV1().EndpointSlices(hostNamespace).Get(t.Context(), "vc-door", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := slice.Endpoints[0].Addresses[0]; got != "192.0.2.8" || *slice.Ports[0].Port != 9443 {
		t.Errorf("the slice leads to %s:%d", got, *slice.Ports[0].Port)
	}
	account, err := client.CoreV1().ServiceAccounts(hostNamespace).Get(t.Context(), "vc-workload", metav1.GetOptions{})
	if err != nil || account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken {
		t.Errorf("workload account: %v %+v", err, account)
	}
}

func TestEnsureServiceInsideTheHost(t *testing.T) {
	client := fake.NewClientset()
	inside := outside
	inside.Advertise = netip.Addr{}
	if _, err := door.EnsureService(t.Context(), client, inside); err != nil {
		t.Fatal(err)
	}
	svc, err := client.CoreV1().Services(hostNamespace).Get(t.Context(), "vc", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// Nothing that a tenant can put on a pod.
	if diff := cmp.Diff(map[string]string{door.LabelDoor: "vc"}, svc.Spec.Selector); diff != "" {
		t.Errorf("selector (-want +got):\n%s", diff)
	}
}

func TestEnsureServiceTakesNothingOver(t *testing.T) {
	for name, obj := range map[string]*corev1.Service{
		"nobody's":          {ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: "vc"}},
		"another cluster's": {ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: "vc", Labels: map[string]string{rewrite.LabelCluster: "other"}}},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(obj)
			if _, err := door.EnsureService(t.Context(), client, outside); !errors.Is(err, door.ErrNotOurs) {
				t.Errorf("got %v", err)
			}
		})
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: "vc-workload"}}
	if _, err := door.EnsureService(t.Context(), fake.NewClientset(account), outside); !errors.Is(err, door.ErrNotOurs) {
		t.Errorf("an account that may have rights: %v", err)
	}
}

func TestEnsureServiceRefusesAnAddressThatPodsCannotReach(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1", "0.0.0.0", "169.254.1.1", "224.0.0.1"} {
		o := outside
		o.Advertise = netip.MustParseAddr(addr)
		if _, err := door.EnsureService(t.Context(), fake.NewClientset(), o); err == nil {
			t.Errorf("%s accepted", addr)
		}
	}
}
