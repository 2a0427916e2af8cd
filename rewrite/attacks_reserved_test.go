// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"portico.dev/portico/rewrite"
)

// lookalikeKeys are keys that mean something on the host, and those that the host
// has in the place of these, and in the place of those again.
func lookalikeKeys(t *testing.T) []string {
	t.Helper()
	keys := []string{"app"}
	for _, name := range []string{
		"cluster", "namespace", "composed", "host-namespace", "name", "kind", "overlay", "labels", "annotations",
		"service-account", "egress-policy", "virtual", "ns-label-0123456789", "annotation-0123456789", "label-0123456789", "label-",
	} {
		keys = append(keys, rewrite.Prefix+name)
	}
	for last := keys; len(keys) < 48; {
		var moved []string
		for _, k := range last {
			for h := range podToHost(t, pod("demo", "o", map[string]string{k: "v"}), rewrite.Inputs{}).Labels {
				if strings.HasPrefix(h, rewrite.Prefix+"label-") {
					moved = append(moved, h)
				}
			}
		}
		keys, last = append(keys, moved...), moved
	}
	return keys
}

// A tenant writes keys that Portico has on the host, keys that look like those
// that stand for them, and the finalizers of both, on every kind, and changes them
// later. The tenant reads all back. On the host they change none of Portico's keys
// nor of other parts', and none is left of those that are gone.
func TestAttackKeysThatLookMoved(t *testing.T) {
	tr, keys := mustNew(t, testCluster()), lookalikeKeys(t)
	const mark = rewrite.LabelEgressPolicy
	plain := func(m map[string]string) map[string]string {
		m = maps.Clone(m)
		maps.DeleteFunc(m, func(k, _ string) bool {
			return k == "app" || k == mark || k == rewrite.AnnotationOverlay || strings.HasPrefix(k, rewrite.Prefix+"label-")
		})
		return m
	}
	for kind, bare := range translated(nil, nil) {
		want := metaOf(t, toHost(t, tr, bare, rewrite.Inputs{}))
		for seed := range uint64(200) {
			r := rand.New(rand.NewPCG(seed, 1))
			some := func() map[string]string {
				out := map[string]string{}
				for range r.IntN(6) {
					out[keys[r.IntN(len(keys))]] = []string{"", "a", "true", "my-vcluster", "demo"}[r.IntN(5)]
				}
				if len(out) == 0 {
					return nil
				}
				return out
			}
			fill := func(o runtime.Object) runtime.Object {
				m := metaOf(t, o)
				m.SetLabels(some())
				m.SetAnnotations(some())
				m.SetFinalizers(nil)
				for _, f := range []string{rewrite.FinalizerVirtual, "example.com/a", metav1.FinalizerDeleteDependents, "portico.dev/other"} {
					if r.IntN(2) == 0 {
						m.SetFinalizers(append(m.GetFinalizers(), f))
					}
				}
				return o
			}
			v := fill(bare.DeepCopyObject())
			h := toHost(t, tr, v, rewrite.Inputs{})
			for step := range 4 {
				if d := diff(v, toVirtual(t, tr, h)); d != "" {
					t.Fatalf("%s, seed %d, step %d: the tenant reads (-want +got):\n%s", kind, seed, step, d)
				}
				got := metaOf(t, h)
				if d := diff(plain(want.GetLabels()), plain(got.GetLabels())); d != "" {
					t.Fatalf("%s, seed %d, step %d: labels on the host:\n%s", kind, seed, step, d)
				}
				if d := diff(plain(want.GetAnnotations()), plain(got.GetAnnotations())); d != "" {
					t.Fatalf("%s, seed %d, step %d: annotations on the host:\n%s", kind, seed, step, d)
				}
				if namespace, name, err := tr.Identify(kind, got); err != nil || namespace != "demo" || name != "o" {
					t.Fatalf("%s, seed %d, step %d: the host object is %s/%s, %v", kind, seed, step, namespace, name, err)
				}
				held := len(metaOf(t, v).GetFinalizers()) > 0
				if f := got.GetFinalizers(); held != slices.Contains(f, rewrite.FinalizerVirtual) || len(f) > 1 {
					t.Fatalf("%s, seed %d, step %d: finalizers on the host: %v", kind, seed, step, f)
				}
				if step > 0 && got.GetLabels()[mark] != "true" {
					t.Fatalf("%s, seed %d, step %d: the mark of another part is gone", kind, seed, step)
				}
				fresh := metaOf(t, toHost(t, tr, v, rewrite.Inputs{}))
				if kind == "Pod" {
					now := maps.Clone(got.GetLabels())
					delete(now, mark)
					if d := diff(fresh.GetLabels(), now); d != "" {
						t.Fatalf("seed %d, step %d: labels left:\n%s", seed, step, d)
					}
				}
				got.GetLabels()[mark] = "true"
				v = fill(toVirtual(t, tr, h))
				h = toHost(t, tr, v, rewrite.Inputs{Host: h})
			}
		}
	}
}

func metaOf(t *testing.T, o runtime.Object) metav1.Object {
	t.Helper()
	m, err := meta.Accessor(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
