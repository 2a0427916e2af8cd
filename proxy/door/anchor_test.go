// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door_test

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/proxy/door"
	"portico.dev/portico/rewrite"
)

func ensured(t *testing.T, client *fake.Clientset) door.Door {
	t.Helper()
	d, err := door.EnsureService(t.Context(), client, outside)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestAnchorOwnsWhatLeadsToTheDoor: and nothing that can be deleted for another
// reason does. It is made before everything else.
func TestAnchorOwnsWhatLeadsToTheDoor(t *testing.T) {
	client := fake.NewClientset()
	d := ensured(t, client)
	anchor, err := client.CoreV1().ConfigMaps(hostNamespace).Get(t.Context(), "vc.anchor", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(anchor.Finalizers) > 0 || len(anchor.OwnerReferences) > 0 || anchor.Immutable == nil || !*anchor.Immutable ||
		anchor.Labels[rewrite.LabelCluster] != "vc" || !strings.Contains(anchor.Annotations[door.AnnotationPurpose], "Deleting it deletes") {
		t.Errorf("anchor %+v", anchor)
	}
	if a := client.Actions(); !a[0].Matches("get", "configmaps") || !a[1].Matches("create", "configmaps") {
		t.Errorf("begins with %v and %v", a[0], a[1])
	}
	svc, err := client.CoreV1().Services(hostNamespace).Get(t.Context(), "vc", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	slice, err := client.DiscoveryV1().EndpointSlices(hostNamespace).Get(t.Context(), "vc-door", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	account, err := client.CoreV1().ServiceAccounts(hostNamespace).Get(t.Context(), "vc-workload", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []metav1.Object{svc, slice, account} {
		o := m.GetOwnerReferences()
		if len(o) != 1 || o[0].Name != "vc.anchor" || o[0].UID != d.Owner.UID || !*o[0].Controller || o[0].BlockOwnerDeletion != nil {
			t.Errorf("%T is owned by %+v", m, o)
		}
	}
}

func TestAnchorOfSomebodyElseIsNotTaken(t *testing.T) {
	now := metav1.Now()
	for name, c := range map[string]struct {
		anchor metav1.ObjectMeta
		want   string
	}{
		"nobody's": {metav1.ObjectMeta{}, door.ErrNotOurs.Error()},
		"on its way out": {metav1.ObjectMeta{
			Labels: map[string]string{rewrite.LabelCluster: "vc"}, DeletionTimestamp: &now, Finalizers: []string{metav1.FinalizerDeleteDependents},
		}, "being deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			c.anchor.Namespace, c.anchor.Name = hostNamespace, "vc.anchor"
			_, err := door.EnsureService(t.Context(), fake.NewClientset(&corev1.ConfigMap{ObjectMeta: c.anchor}), outside)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestServiceOfBeforeIsTheAnchors: a cluster from before there was one.
func TestServiceOfBeforeIsTheAnchors(t *testing.T) {
	client := fake.NewClientset(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: "vc", UID: "old", Labels: map[string]string{rewrite.LabelCluster: "vc"}},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.7"},
	})
	ensured(t, client)
	svc, err := client.CoreV1().Services(hostNamespace).Get(t.Context(), "vc", metav1.GetOptions{})
	if err != nil || len(svc.OwnerReferences) != 1 || svc.OwnerReferences[0].Name != "vc.anchor" || svc.UID != "old" {
		t.Errorf("%+v (%v)", svc, err)
	}
}

// TestServiceKeepsItsAddress: across its deletion while no porticod runs, unless
// the host has given the address away.
func TestServiceKeepsItsAddress(t *testing.T) {
	for name, c := range map[string]struct {
		taken bool
		want  string
	}{"free": {want: "10.96.0.7"}, "taken": {taken: true}} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(&corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: "vc", Labels: map[string]string{rewrite.LabelCluster: "vc"}},
				Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.7"},
			})
			ensured(t, client)
			if err := client.CoreV1().Services(hostNamespace).Delete(t.Context(), "vc", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			client.PrependReactor("create", "services", func(a clienttesting.Action) (bool, runtime.Object, error) {
				svc := a.(clienttesting.CreateAction).GetObject().(*corev1.Service)
				if c.taken && svc.Spec.ClusterIP == "10.96.0.7" {
					return true, nil, apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, "vc", nil)
				}
				return false, nil, nil
			})
			if d := ensured(t, client); d.ClusterIP != c.want {
				t.Errorf("address %q, want %q", d.ClusterIP, c.want)
			}
		})
	}
}

var errRefused = errors.New("refused")
