// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
)

// statefulSet returns a workload with as many replicas, all but some ready.
func statefulSet(namespace, name string, replicas, ready int32) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{
			"app.kubernetes.io/name": "portico", "portico.dev/cluster": name, "app.kubernetes.io/version": "dev",
		}},
		Spec:   appsv1.StatefulSetSpec{Replicas: &replicas},
		Status: appsv1.StatefulSetStatus{ReadyReplicas: ready, UpdatedReplicas: replicas},
	}
}

func record(namespace, name, status string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "sh.helm.release.v1." + name + ".v1", Labels: map[string]string{"owner": "helm", "status": status, "portico.dev/cluster": name}},
	}
}

func newFinder(t *testing.T, objects ...runtime.Object) (Finder, *fake.Clientset) {
	t.Helper()
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	var typed, records []runtime.Object
	for _, o := range objects {
		if _, ok := o.(*metav1.PartialObjectMetadata); ok {
			records = append(records, o)
		} else {
			typed = append(typed, o)
		}
	}
	client := fake.NewClientset(typed...)
	return Finder{Client: client, Metadata: metadatafake.NewSimpleMetadataClient(scheme, records...)}, client
}

func TestListKnowsClustersByWorkloadAndByRecord(t *testing.T) {
	tenants := statefulSet("a", "tenants", 1, 1) // of someone, and no porticod
	delete(tenants.Labels, "portico.dev/cluster")
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "b", Name: "ha", Labels: statefulSet("b", "ha", 1, 1).Labels},
		Spec:       appsv1.DeploymentSpec{Replicas: new(int32)},
	}
	*deployment.Spec.Replicas = 3
	deployment.Status = appsv1.DeploymentStatus{Replicas: 3, ReadyReplicas: 3, UpdatedReplicas: 3}
	etcd := statefulSet("b", "ha", 3, 3) // of a cluster, and no cluster
	etcd.Name = "ha-etcd"
	f, _ := newFinder(t, statefulSet("a", "one", 1, 1), statefulSet("c", "two", 3, 2), deployment, etcd, tenants,
		record("a", "one", "deployed"), record("e", "removed", "uninstalled"), record("d", "begun", "pending-install"), record("d", "ending", "uninstalling"))
	found, err := f.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]State{}
	for _, c := range found {
		got[c.Namespace+"/"+c.Name+"/"+c.Kind] = c.State
	}
	want := map[string]State{
		"a/one/StatefulSet": Running, "c/two/StatefulSet": Starting, "b/ha/Deployment": Running,
		"d/begun/": Incomplete, "d/ending/": Deleting, "e/removed/": Deleting,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("clusters (-want +got):\n%s", diff)
	}
}

func TestFindNeedsANamespaceOnlyForSeveralOfOneName(t *testing.T) {
	f, _ := newFinder(t, statefulSet("a", "vc", 1, 1), statefulSet("b", "vc", 1, 1), statefulSet("c", "alone", 1, 1))
	if c, err := f.Find(t.Context(), "", "alone"); err != nil || c.Namespace != "c" {
		t.Errorf("alone: %+v, %v", c, err)
	}
	if _, err := f.Find(t.Context(), "", "vc"); err == nil || !strings.Contains(err.Error(), "a, b") {
		t.Errorf("two of one name: %v", err)
	}
	if c, err := f.Find(t.Context(), "b", "vc"); err != nil || c.Namespace != "b" {
		t.Errorf("one of two: %+v, %v", c, err)
	}
	if _, err := f.Find(t.Context(), "c", "vc"); !errors.Is(err, ErrNotFound) {
		t.Errorf("none: %v", err)
	}
}

func TestFindLooksIntoTheDefaultNamespaceWhenItMayNotLookEverywhere(t *testing.T) {
	f, client := newFinder(t, statefulSet("portico-vc", "vc", 1, 1))
	client.PrependReactor("list", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetNamespace() == "" {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: a.GetResource().Resource}, "", nil)
		}
		return false, nil, nil
	})
	if c, err := f.Find(t.Context(), "", "vc"); err != nil || c.Namespace != "portico-vc" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestPauseAndResumeAreDoneAgainWithoutHarm(t *testing.T) {
	f, client := newFinder(t, statefulSet("ns", "vc", 3, 3))
	get := func() *Cluster {
		t.Helper()
		c, err := f.Get(t.Context(), "ns", "vc")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	quiet := func(string) {}
	for range 2 {
		if err := Pause(t.Context(), client, get(), quiet); err != nil {
			t.Fatal(err)
		}
		if c := get(); c.State != Paused || c.Replicas != 0 || c.PausedReplicas != 3 {
			t.Errorf("paused cluster: %+v", c)
		}
	}
	for range 2 {
		if err := Resume(t.Context(), client, get(), quiet); err != nil {
			t.Fatal(err)
		}
		if c := get(); c.Replicas != 3 || c.PausedReplicas != 0 {
			t.Errorf("resumed cluster: %+v", c)
		}
	}
}

func TestAClusterThatSomebodyScaledDownIsNotPaused(t *testing.T) {
	f, client := newFinder(t, statefulSet("ns", "vc", 0, 0))
	c, err := f.Get(t.Context(), "ns", "vc")
	if err != nil || c.State != Scaled {
		t.Fatalf("%+v, %v", c, err)
	}
	if Pause(t.Context(), client, c, nil) == nil || Resume(t.Context(), client, c, nil) == nil {
		t.Error("it was paused or resumed")
	}
}

func TestDataIsNeverATenantsClaim(t *testing.T) {
	claim := func(name string, labels map[string]string) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: labels}}
	}
	door := map[string]string{"portico.dev/door": "vc"}
	_, client := newFinder(t,
		claim("data-vc-0", door), claim("data-vc-etcd-2", map[string]string{"portico.dev/etcd": "vc"}),
		// A tenant can have claims of a name and with labels of their choice.
		claim("data-vc-1", map[string]string{"portico.dev/door": "vc", "portico.dev/namespace": "default"}),
		claim("data-vc-2", nil), claim("data-vc-x", door), claim("data-vc2-0", map[string]string{"portico.dev/door": "vc2"}))
	got, err := Data(t.Context(), client, "ns", "vc")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"data-vc-0", "data-vc-etcd-2"}, got); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func TestRemainsAreWhatSomebodyWouldMiss(t *testing.T) {
	controlled := true
	_, client := newFinder(t,
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "kube-root-ca.crt"}},
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "bare"}},
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "owned", OwnerReferences: []metav1.OwnerReference{{Controller: &controlled}}}},
		statefulSet("ns", "vc", 1, 1), statefulSet("elsewhere", "x", 1, 1),
		&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "data"}})
	got, err := Remains(t.Context(), client, "ns")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"statefulset vc", "persistentvolumeclaim data", "pod bare"}, got); diff != "" {
		t.Errorf("remains (-want +got):\n%s", diff)
	}
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"my-vcluster": true, strings.Repeat("a", 40): true,
		"": false, "My": false, "a.b": false, "a_b": false, "-a": false, "1a": false, strings.Repeat("a", 41): false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}
