// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/proxy/door"
	"portico.dev/portico/rewrite"
)

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, 20*time.Second, true,
		func(context.Context) (bool, error) { return holds(), nil }); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// keep runs the keeper of the cluster of outside against the two clients.
func keep(t *testing.T, client *fake.Clientset, meta *metadatafake.FakeMetadataClient) *door.Keeper {
	t.Helper()
	k, _ := keepAs(t, client, meta, func(*door.Keeper) {})
	return k
}

// keepAs is keep with a keeper that is set up before it runs. It returns the
// Translator of the cluster too.
func keepAs(t *testing.T, client *fake.Clientset, meta *metadatafake.FakeMetadataClient, setUp func(*door.Keeper)) (*door.Keeper, *rewrite.Translator) {
	t.Helper()
	var anchors atomic.Int64 // the fake gives no uids
	client.PrependReactor("create", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
		made, ok := a.(clienttesting.CreateAction).GetObject().(*corev1.ConfigMap)
		if ok {
			made.UID = types.UID(fmt.Sprintf("anchor-%d", anchors.Add(1)))
		}
		return false, nil, nil
	})
	d := ensured(t, client)
	translator, err := rewrite.New(rewrite.Cluster{Name: "vc", HostNamespace: hostNamespace, Owner: d.Owner})
	if err != nil {
		t.Fatal(err)
	}
	k, err := door.NewKeeper(client, outside, d, translator)
	if err != nil {
		t.Fatal(err)
	}
	setUp(k)
	for _, run := range []func(context.Context) error{k.Observe, func(ctx context.Context) error { return k.Run(ctx, client, meta) }} {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	return k, translator
}

func emptyMetadata(objects ...runtime.Object) *metadatafake.FakeMetadataClient {
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		panic(err)
	}
	return metadatafake.NewSimpleMetadataClient(scheme, objects...)
}

// TestKeeperPutsTheServiceBack: with its address, and reports the fault while
// it cannot.
func TestKeeperPutsTheServiceBack(t *testing.T) {
	client := fake.NewClientset(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: "vc", Labels: map[string]string{rewrite.LabelCluster: "vc"}},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.7"},
	})
	var refuse atomic.Bool
	client.PrependReactor("create", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
		return refuse.Load(), nil, errRefused
	})
	k := keep(t, client, emptyMetadata())
	services := client.CoreV1().Services(hostNamespace)
	refuse.Store(true)
	if err := services.Delete(t.Context(), "vc", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what is wrong", func() bool { err := k.Ready(); return err != nil && strings.Contains(err.Error(), "is gone") })
	if err := client.CoreV1().ServiceAccounts(hostNamespace).Delete(t.Context(), "vc-workload", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	refuse.Store(false)
	eventually(t, "the Service", func() bool {
		svc, err := services.Get(t.Context(), "vc", metav1.GetOptions{})
		return err == nil && svc.Spec.ClusterIP == "10.96.0.7" && svc.OwnerReferences[0].Name == "vc.anchor"
	})
	eventually(t, "the account", func() bool {
		_, err := client.CoreV1().ServiceAccounts(hostNamespace).Get(t.Context(), "vc-workload", metav1.GetOptions{})
		return err == nil
	})
	eventually(t, "that all is well", func() bool { return k.Ready() == nil })
}

// TestKeeperSaysThatTheAddressIsAnother: another client has made the Service
// first.
func TestKeeperSaysThatTheAddressIsAnother(t *testing.T) {
	client := fake.NewClientset()
	k := keep(t, client, emptyMetadata())
	services := client.CoreV1().Services(hostNamespace)
	svc, err := services.Get(t.Context(), "vc", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	svc.Spec.ClusterIP = "10.96.0.9"
	if _, err := services.Update(t.Context(), svc, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what is wrong", func() bool { err := k.Ready(); return err != nil && strings.Contains(err.Error(), "10.96.0.9") })
	svc.Labels = nil
	if _, err := services.Update(t.Context(), svc, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "whose it is", func() bool {
		err := k.Ready()
		return err != nil && strings.Contains(err.Error(), "something else")
	})
}

// TestKeeperMovesOwners: objects that the Service owned get the anchor as
// owner; those of another cluster or of a pod stay.
func TestKeeperMovesOwners(t *testing.T) {
	object := func(kind, name, cluster string, owners ...metav1.OwnerReference) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kind},
			ObjectMeta: metav1.ObjectMeta{
				Namespace: hostNamespace, Name: name, Labels: map[string]string{rewrite.LabelCluster: cluster}, OwnerReferences: owners,
			},
		}
	}
	service := metav1.OwnerReference{APIVersion: "v1", Kind: "Service", Name: "vc", UID: "s"}
	pod := metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: "p", UID: "p"}
	meta := emptyMetadata(
		object("Pod", "p", "vc", service), object("PersistentVolumeClaim", "c", "vc", service), object("Pod", "orphan", "vc"),
		object("Secret", "token", "vc", pod), object("Pod", "other", "other", service),
	)
	meta.PrependReactor("patch", "pods", func() clienttesting.ReactionFunc {
		var once atomic.Bool
		return func(clienttesting.Action) (bool, runtime.Object, error) {
			return once.CompareAndSwap(false, true), nil, apierrors.NewServiceUnavailable("later") // tried again
		}
	}())
	keep(t, fake.NewClientset(), meta)
	ownersOf := func(resource, name string) []metav1.OwnerReference {
		got, err := meta.Resource(corev1.SchemeGroupVersion.WithResource(resource)).Namespace(hostNamespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return got.OwnerReferences
	}
	for resource, names := range map[string][]string{"pods": {"p", "orphan"}, "persistentvolumeclaims": {"c"}} {
		for _, name := range names {
			eventually(t, "owner of "+resource+" "+name, func() bool {
				o := ownersOf(resource, name)
				return len(o) == 1 && o[0].Name == "vc.anchor" && o[0].Controller != nil && *o[0].Controller
			})
		}
	}
	if o := ownersOf("pods", "other"); o[0].Kind != "Service" {
		t.Errorf("the pod of another cluster is owned by %+v", o)
	}
	if o := ownersOf("secrets", "token"); len(o) != 1 || o[0].Kind != "Pod" {
		t.Errorf("the Secret of a pod is owned by %+v", o)
	}
}

// TestKeeperPutsTheAnchorBack: with the addresses that it remembers. It owns new
// objects from then on, and those that the host left.
func TestKeeperPutsTheAnchorBack(t *testing.T) {
	orphan := &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: "p", Labels: map[string]string{rewrite.LabelCluster: "vc"}},
	}
	dangling := &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: hostNamespace, Name: "c", Labels: map[string]string{rewrite.LabelCluster: "vc"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "vc.anchor", UID: "anchor-1"}},
		},
	}
	client := fake.NewClientset(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: "vc", Labels: map[string]string{rewrite.LabelCluster: "vc"}},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.7"},
	})
	var refuse atomic.Bool
	client.PrependReactor("create", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return refuse.Load(), nil, errRefused
	})
	meta, reports := emptyMetadata(orphan, dangling), make(chan string, 10)
	k, translator := keepAs(t, client, meta, func(k *door.Keeper) { k.OnPutBack(func(what string) { reports <- what }) })
	eventually(t, "that all is well", func() bool { return k.Ready() == nil })
	anchors := client.CoreV1().ConfigMaps(hostNamespace)
	refuse.Store(true)
	if err := anchors.Delete(t.Context(), "vc.anchor", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what is wrong", func() bool { err := k.Ready(); return err != nil && strings.Contains(err.Error(), "owns every object") })
	refuse.Store(false)
	var uid types.UID
	eventually(t, "another anchor with the address", func() bool {
		anchor, err := anchors.Get(t.Context(), "vc.anchor", metav1.GetOptions{})
		if err == nil {
			uid = anchor.UID
		}
		return err == nil && anchor.UID != "anchor-1" && anchor.Annotations[door.AnnotationServiceIP] == "10.96.0.7"
	})
	if what := <-reports; !strings.Contains(what, "vc.anchor") {
		t.Errorf("report: %s", what)
	}
	if owner := translator.Owner(); owner.UID != uid {
		t.Errorf("new objects have the owner %+v", owner)
	}
	for resource, name := range map[string]string{"pods": "p", "persistentvolumeclaims": "c"} {
		eventually(t, "owner of "+name, func() bool {
			got, err := meta.Resource(corev1.SchemeGroupVersion.WithResource(resource)).Namespace(hostNamespace).Get(t.Context(), name, metav1.GetOptions{})
			return err == nil && len(got.OwnerReferences) == 1 && got.OwnerReferences[0].UID == uid
		})
	}
	eventually(t, "the owner of the Service", func() bool {
		svc, err := client.CoreV1().Services(hostNamespace).Get(t.Context(), "vc", metav1.GetOptions{})
		return err == nil && len(svc.OwnerReferences) == 1 && svc.OwnerReferences[0].UID == uid
	})
	eventually(t, "that all is well again", func() bool { return k.Ready() == nil })
}

// TestKeeperLeadsTheServiceBack: somebody on the host has led it elsewhere.
func TestKeeperLeadsTheServiceBack(t *testing.T) {
	client := fake.NewClientset()
	keep(t, client, emptyMetadata())
	services := client.CoreV1().Services(hostNamespace)
	svc, err := services.Get(t.Context(), "vc", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	was := svc.DeepCopy()
	svc.Spec.Selector, svc.OwnerReferences = map[string]string{"app": "other"}, nil
	svc.Spec.Ports[0].TargetPort.IntVal++
	if _, err := services.Update(t.Context(), svc, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Service of before", func() bool {
		got, err := services.Get(t.Context(), "vc", metav1.GetOptions{})
		return err == nil && apiequality.Semantic.DeepEqual(got.Spec, was.Spec) && len(got.OwnerReferences) == 1
	})
}

// TestKeeperSaysThatItMayNot: a right that was taken away is a fault that a person
// has to remove.
func TestKeeperSaysThatItMayNot(t *testing.T) {
	client := fake.NewClientset()
	var refuse atomic.Bool
	client.PrependReactor("get", "serviceaccounts", func(clienttesting.Action) (bool, runtime.Object, error) {
		return refuse.Load(), nil, apierrors.NewForbidden(corev1.Resource("serviceaccounts"), "vc-workload", errRefused)
	})
	k := keep(t, client, emptyMetadata())
	refuse.Store(true)
	// The next look follows a change.
	if err := client.CoreV1().ConfigMaps(hostNamespace).Delete(t.Context(), "vc.anchor", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what is wrong", func() bool { err := k.Ready(); return err != nil && strings.Contains(err.Error(), "forbidden") })
	refuse.Store(false)
	eventually(t, "that all is well", func() bool { return k.Ready() == nil })
}

// TestNamesFollowTheService: the door's certificate has them. A name that no
// certificate can have must not keep the others out of it.
func TestNamesFollowTheService(t *testing.T) {
	client := fake.NewClientset(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: "vc", Labels: map[string]string{rewrite.LabelCluster: "vc"}},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.7", ClusterIPs: []string{"10.96.0.7", "2001:db8::7"}, ExternalIPs: []string{"192.0.2.9"}},
	})
	k := keep(t, client, emptyMetadata())
	always := []string{"vc", "vc." + hostNamespace, "vc." + hostNamespace + ".svc", "10.96.0.7"}
	has := func(want ...string) func() bool {
		return func() bool {
			got := k.Names()
			return !slices.ContainsFunc(append(want, always...), func(name string) bool { return !slices.Contains(got, name) })
		}
	}
	eventually(t, "addresses of its spec", has("2001:db8::7", "192.0.2.9"))
	svc, err := client.CoreV1().Services(hostNamespace).Get(t.Context(), "vc", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.10"}, {Hostname: "not a name \u00fc"}, {Hostname: "lb.example"}}
	if _, err := client.CoreV1().Services(hostNamespace).UpdateStatus(t.Context(), svc, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "addresses of its load balancer", has("192.0.2.10", "lb.example"))
	for _, name := range k.Names() {
		if name == "" || strings.Contains(name, " ") {
			t.Errorf("%q is no name", name)
		}
	}
	svc.Labels = nil
	if _, err := client.CoreV1().Services(hostNamespace).Update(t.Context(), svc, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing of a Service of somebody else", func() bool { return slices.Equal(k.Names(), always) })
}
