// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"os"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"portico.dev/portico/rewrite"
)

// TestFinalizers follows a claim through its life: the tenant's writes never
// change the host's finalizers, and the tenant's never reach the host.
func TestFinalizers(t *testing.T) {
	const protection, theirs, mine = "kubernetes.io/pvc-protection", "host.example/cleanup", "tenant.example/drain"
	tr := mustNew(t, testCluster())
	v := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "data", Finalizers: []string{mine, protection}}}
	h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.PersistentVolumeClaim)
	expect(t, "create, on the host", h.Finalizers, rewrite.FinalizerVirtual, protection)

	h.Finalizers = append(h.Finalizers, theirs)
	v = toVirtual(t, tr, h).(*corev1.PersistentVolumeClaim)
	expect(t, "the host adds one", v.Finalizers, mine, protection, theirs)

	v.Finalizers = []string{mine}
	again := toHost(t, tr, v, rewrite.Inputs{Host: h}).(*corev1.PersistentVolumeClaim)
	expect(t, "the tenant removes all but its own, on the host", again.Finalizers, rewrite.FinalizerVirtual, protection, theirs)

	v.Finalizers = nil
	again = toHost(t, tr, v, rewrite.Inputs{Host: h}).(*corev1.PersistentVolumeClaim)
	expect(t, "the tenant removes all, on the host", again.Finalizers, protection, theirs)
	expect(t, "as the tenant sees it", toVirtual(t, tr, again).(*corev1.PersistentVolumeClaim).Finalizers, protection, theirs)

	again.Finalizers = []string{theirs}
	expect(t, "the host is done with one", toVirtual(t, tr, again).(*corev1.PersistentVolumeClaim).Finalizers, theirs)

	v = toVirtual(t, tr, again).(*corev1.PersistentVolumeClaim)
	v.Finalizers = append(v.Finalizers, metav1.FinalizerDeleteDependents)
	again = toHost(t, tr, v, rewrite.Inputs{Host: again}).(*corev1.PersistentVolumeClaim)
	expect(t, "a cascade inside, on the host", again.Finalizers, theirs, rewrite.FinalizerVirtual)
	expect(t, "a cascade inside", toVirtual(t, tr, again).(*corev1.PersistentVolumeClaim).Finalizers, metav1.FinalizerDeleteDependents, theirs)

	again.Finalizers = []string{metav1.FinalizerDeleteDependents}
	again.Annotations[rewrite.AnnotationOverlay] = h.Annotations[rewrite.AnnotationOverlay]
	if got := toVirtual(t, tr, again).(*corev1.PersistentVolumeClaim).Finalizers; slices.Contains(got, metav1.FinalizerDeleteDependents) {
		t.Errorf("a cascade on the host shows inside: %v", got)
	}
}

func expect(t *testing.T, when string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", when, got, want)
	}
}

// TestOwnersOfTheHostStay: other owners of the host object remain.
func TestOwnersOfTheHostStay(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := pod("demo", "p", nil)
	h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod)
	h.OwnerReferences = append(h.OwnerReferences, metav1.OwnerReference{Kind: "Backup", Name: "b", UID: "b"})
	again := toHost(t, tr, v, rewrite.Inputs{Host: h}).(*corev1.Pod)
	if d := diff(h.OwnerReferences, again.OwnerReferences); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got := toVirtual(t, tr, h).(*corev1.Pod).OwnerReferences; len(got) != 0 {
		t.Errorf("the tenant sees the owners %v", got)
	}
}

// TestKeysOfOtherPartsStay: keys that other parts of Portico write on a host
// object, and the namespace's labels while those are not known, outlive an
// update.
func TestKeysOfOtherPartsStay(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := pod("demo", "p", nil)
	h := toHost(t, tr, v, testInputs()).(*corev1.Pod)
	h.Labels[rewrite.Prefix+"sleeping"] = "true"
	h.Annotations[rewrite.Prefix+"woken-at"] = "noon"
	again := toHost(t, tr, v, rewrite.Inputs{Host: h}).(*corev1.Pod)
	if d := diff(h.Labels, again.Labels); d != "" {
		t.Errorf("labels (-want +got):\n%s", d)
	}
	if d := diff(h.Annotations, again.Annotations); d != "" {
		t.Errorf("annotations (-want +got):\n%s", d)
	}
	again = toHost(t, tr, v, rewrite.Inputs{Host: h, NamespaceLabels: map[string]string{}}).(*corev1.Pod)
	if len(again.Labels) != 3 {
		t.Errorf("a namespace without labels leaves %v", again.Labels)
	}
}

// TestTenantRemovesKeys: a key that the tenant removes goes from the host,
// also one that was moved or hidden, and one of the host's tooling stays.
func TestTenantRemovesKeys(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := pod("demo", "p", map[string]string{"app": "web", "argocd.argoproj.io/instance": "mine"})
	v.Annotations = map[string]string{"note": "x", "argocd.argoproj.io/tracking-id": "mine"}
	h := toHost(t, tr, v, rewrite.Inputs{}).(*corev1.Pod)
	h.Annotations["argocd.argoproj.io/host"] = "theirs"
	seen := toVirtual(t, tr, h).(*corev1.Pod)
	seen.Labels, seen.Annotations = nil, nil
	again := toHost(t, tr, seen, rewrite.Inputs{Host: h}).(*corev1.Pod)
	if len(again.Labels) != 2 || again.Annotations["note"] != "" {
		t.Errorf("the host keeps %v, %v", again.Labels, again.Annotations)
	}
	want := map[string]string{"argocd.argoproj.io/host": "theirs"}
	if got := toVirtual(t, tr, again).(*corev1.Pod); len(got.Labels) != 0 || diff(want, got.Annotations) != "" {
		t.Errorf("the tenant sees %v, %v", got.Labels, got.Annotations)
	}
}

func BenchmarkPod(b *testing.B) {
	tr := mustNew(b, testCluster())
	v := &corev1.Pod{}
	raw, err := os.ReadFile("testdata/pod.in.yaml")
	if err != nil {
		b.Fatal(err)
	}
	if err := yaml.Unmarshal(raw, v); err != nil {
		b.Fatal(err)
	}
	h, err := tr.PodToHost(v, testInputs())
	if err != nil {
		b.Fatal(err)
	}
	in := testInputs()
	in.Host = h
	b.Run("Direction=ToHost", func(b *testing.B) {
		for b.Loop() {
			if _, err := tr.PodToHost(v, testInputs()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Direction=ToHostOverExisting", func(b *testing.B) {
		for b.Loop() {
			if _, err := tr.PodToHost(v, in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Direction=ToVirtual", func(b *testing.B) {
		for b.Loop() {
			if _, err := tr.PodToVirtual(h); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		mustNew(b, testCluster())
	}
}
