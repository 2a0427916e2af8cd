// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite"
)

// damage lists the ways in which a user of the host may damage an overlay.
var damage = map[string]func(map[string]string){
	"missing":   func(a map[string]string) { delete(a, rewrite.AnnotationOverlay) },
	"empty":     func(a map[string]string) { a[rewrite.AnnotationOverlay] = "" },
	"no base64": func(a map[string]string) { a[rewrite.AnnotationOverlay] = "%" },
	"no gzip":   func(a map[string]string) { a[rewrite.AnnotationOverlay] = "aGVsbG8=" },
	"cut off": func(a map[string]string) {
		s := a[rewrite.AnnotationOverlay]
		a[rewrite.AnnotationOverlay] = s[:len(s)/2/4*4]
	},
	"no JSON":       func(a map[string]string) { a[rewrite.AnnotationOverlay] = rewrite.PackOverlay("{") },
	"another type":  func(a map[string]string) { a[rewrite.AnnotationOverlay] = rewrite.PackOverlay(`{"v":1,"names":7}`) },
	"newer version": func(a map[string]string) { a[rewrite.AnnotationOverlay] = rewrite.PackOverlay(`{"v":2}`) },
	"bad record": func(a map[string]string) {
		a[rewrite.AnnotationOverlay] = rewrite.PackOverlay(`{"v":1,"records":{"tolerations":"x","dnsPolicy":[]}}`)
	},
	"too large": func(a map[string]string) {
		a[rewrite.AnnotationOverlay] = rewrite.PackOverlay(`{"v":1,"generateName":"` + strings.Repeat("x", 17<<20) + `"}`)
	},
}

// TestCorruptOverlayStillShowsTheObject: the object is usable, the error names
// the fault, and the next write repairs it and touches nothing else.
func TestCorruptOverlayStillShowsTheObject(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := pod("demo", "web-0", map[string]string{"app": "web"})
	v.Spec.Containers = []corev1.Container{{Name: "c", Image: "i", EnvFrom: []corev1.EnvFromSource{{
		SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "password"}},
	}}}}
	for name, harm := range damage {
		t.Run(name, func(t *testing.T) {
			h := toHost(t, tr, v, testInputs()).(*corev1.Pod)
			harm(h.Annotations)
			seen, err := tr.PodToVirtual(h)
			var corrupt *rewrite.CorruptOverlayError
			if !errors.As(err, &corrupt) || corrupt.Name != "web-0" || corrupt.Namespace != "demo" || corrupt.HostName != h.Name {
				t.Fatalf("got error %v, want a CorruptOverlayError about demo/web-0", err)
			}
			if seen.Name != "web-0" || seen.Namespace != "demo" || seen.Labels["app"] != "web" {
				t.Errorf("got %s/%s with labels %v", seen.Namespace, seen.Name, seen.Labels)
			}
			if name != "bad record" && seen.Spec.Containers[0].EnvFrom[0].SecretRef.Name != "password" {
				t.Errorf("a reference reads %s", seen.Spec.Containers[0].EnvFrom[0].SecretRef.Name)
			}
			for k := range seen.Annotations {
				if rewrite.Reserved(k) {
					t.Errorf("annotation %s is shown", k)
				}
			}

			in := testInputs()
			in.Host = h
			seen.Labels["app"] = "api"
			repaired := toHost(t, tr, seen, in).(*corev1.Pod)
			if d := diff(h.Spec, repaired.Spec); d != "" {
				t.Errorf("the repair changes the spec:\n%s", d)
			}
			again, err := tr.PodToVirtual(repaired)
			if err != nil {
				t.Fatalf("after the repair: %v", err)
			}
			if d := diff(wire(t, seen), wire(t, again)); d != "" {
				t.Errorf("after the repair (-want +got):\n%s", d)
			}
		})
	}
}

// TestOverlayDropsManagedFieldsLast: they are the one part that can be made
// again, so they go when the annotation would be too large, and nothing else.
func TestOverlayDropsManagedFieldsLast(t *testing.T) {
	tr := mustNew(t, testCluster())
	v := pod("demo", "p", nil)
	v.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "rs", UID: "u"}}
	v.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "m", FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:` + noise(400_000) + `":{}}`)}}}
	got := toVirtual(t, tr, toHost(t, tr, v, rewrite.Inputs{})).(*corev1.Pod)
	if len(got.ManagedFields) != 0 || len(got.OwnerReferences) != 1 {
		t.Errorf("got %d managedFields and %d owners, want 0 and 1", len(got.ManagedFields), len(got.OwnerReferences))
	}

	v.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": noise(400_000)}
	if _, err := tr.PodToHost(v, rewrite.Inputs{}); !apierrors.IsRequestEntityTooLargeError(err) {
		t.Errorf("got %v, want a Status 413", err)
	}
}

// noise does not compress.
func noise(n int) string {
	r := rand.New(rand.NewPCG(1, 1))
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%x", r.Uint64())
	}
	return b.String()
}

// FuzzOverlay: with any content of the annotation, the object is shown, and can
// be written back as shown.
func FuzzOverlay(f *testing.F) {
	f.Add(`{"v":1}`, false)
	f.Add(`{"v":1,"names":["a"],"labels":["b"],"keys":["c"],"finalizers":["d"],"records":{"dnsPolicy":{"virtual":"ClusterFirst","host":"None"}}}`, false)
	f.Add(`{"v":1,"records":{"containers[c].env":["A"],"tolerations":[{}],"nodeSelector":{"host":{"a":"b"}},"topologySpreadConstraints":[{"host":{}}]}}`, false)
	f.Add("aGVsbG8=", true)
	tr, err := rewrite.New(testCluster())
	if err != nil {
		f.Fatal(err)
	}
	v := randomPod(f, 7)
	f.Fuzz(func(t *testing.T, overlay string, raw bool) {
		h, err := tr.PodToHost(v, testInputs())
		if err != nil {
			t.Fatal(err)
		}
		if !raw {
			overlay = rewrite.PackOverlay(overlay)
		}
		h.Annotations[rewrite.AnnotationOverlay] = overlay
		seen, err := tr.PodToVirtual(h)
		var corrupt *rewrite.CorruptOverlayError
		if err != nil && !errors.As(err, &corrupt) {
			t.Fatalf("unusable: %v", err)
		}
		if seen == nil || seen.Name != v.Name {
			t.Fatalf("got %v", seen)
		}
	})
}

// FuzzLaws runs laws 1 and 2 and the one about updates on objects of any seed.
func FuzzLaws(f *testing.F) {
	f.Add(uint64(1), uint8(0))
	f.Add(uint64(1<<40), uint8(3))
	tr, err := rewrite.New(testCluster())
	if err != nil {
		f.Fatal(err)
	}
	changes := sortedChanges()
	f.Fuzz(func(t *testing.T, seed uint64, n uint8) {
		change := hostChanges[changes[int(n)%len(changes)]]
		for _, v := range randomObjects(t, seed) {
			h := toHost(t, tr, v, testInputs())
			change(h)
			change(v)
			seen := toVirtual(t, tr, h)
			if d := diff(wireObject(t, v), seen); d != "" {
				t.Fatalf("%T (-want +got):\n%s", v, d)
			}
			in := testInputs()
			in.Host = h
			if d := diff(plain(t, h), plain(t, toHost(t, tr, seen, in))); d != "" {
				t.Fatalf("%T on the host (-want +got):\n%s", v, d)
			}
		}
	})
}
