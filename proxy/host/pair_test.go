// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"portico.dev/portico/proxy/host"
)

// event is the next of a watch. Like the cache, the test does not change it.
func event(t *testing.T, w watch.Interface) *corev1.Pod {
	t.Helper()
	ev, ok := <-w.ResultChan()
	pod, isPod := ev.Object.(*corev1.Pod)
	if !ok || !isPod {
		t.Fatalf("event %v", ev)
	}
	return pod
}

// TestAWriteAndItsEventShareNothingThatChanges: the answer to a write is the
// caller's, who may change it, and no change reaches the event, or the state that
// the next write finds.
func TestAWriteAndItsEventShareNothingThatChanges(t *testing.T) {
	f := newFixture(t, "pods")
	w := f.watchAll()
	spoil := func(p *corev1.Pod) {
		clear(p.Labels)
		p.Spec.Containers[0].Image = "spoiled"
		p.Spec.Volumes = nil
	}
	for _, late := range []bool{false, true} { // the event before the answer, or after it
		f.host.setLate(late)
		name := fmt.Sprint("web-", late)
		got := f.create(newPod("demo", name))
		want := got.DeepCopy()
		spoil(got)
		f.host.setLate(false)
		if d := cmp.Diff(want, event(t, w)); d != "" {
			t.Errorf("late %v: event of the creation (-answer +event):\n%s", late, d)
		}
		f.host.setLate(late)
		got = f.mustUpdate(as(t.Context(), ""), want, func(p *corev1.Pod) { p.Labels["touched"] = "yes" })
		if got.Labels["touched"] != "yes" || got.Labels["app"] != name || got.Spec.Containers[0].Image == "spoiled" {
			t.Errorf("late %v: the update began at another state: %v", late, got)
		}
		want = got.DeepCopy()
		spoil(got)
		f.host.setLate(false)
		if d := cmp.Diff(want, event(t, w)); d != "" {
			t.Errorf("late %v: event of the update (-answer +event):\n%s", late, d)
		}
	}
}

// TestADryRunLeavesNoPair: its answer has the revision of the pod that is there,
// and shows another.
func TestADryRunLeavesNoPair(t *testing.T) {
	f := newFixture(t, "pods")
	w := f.watchAll()
	f.host.setLate(true)
	pod := f.create(newPod("demo", "web"))
	tried, err := f.update(host.WithDryRun(as(t.Context(), "")), pod, func(p *corev1.Pod) { p.Labels["tried"] = "yes" })
	if err != nil || tried.Labels["tried"] != "yes" || tried.ResourceVersion != pod.ResourceVersion {
		t.Fatalf("dry run: %v, %v", tried, err)
	}
	f.host.setLate(false)
	if d := cmp.Diff(pod, event(t, w)); d != "" {
		t.Errorf("event (-creation +event):\n%s", d)
	}
}

// TestPairsAreBounded: more objects than there are pairs are written, shown and
// written again.
func TestPairsAreBounded(t *testing.T) {
	f := newFixture(t, "pods")
	w := f.watchAll()
	const many = 300
	pods := make([]*corev1.Pod, many)
	for i := range pods {
		pods[i] = f.create(newPod("demo", fmt.Sprint("web-", i)))
		if d := cmp.Diff(pods[i], event(t, w)); d != "" {
			t.Fatalf("event (-answer +event):\n%s", d)
		}
	}
	if n := f.Pairs(); n != host.MaxPairs {
		t.Errorf("there are %d pairs, want %d", n, host.MaxPairs)
	}
	for i, pod := range pods {
		got := f.mustUpdate(as(t.Context(), ""), pod, func(p *corev1.Pod) { p.Labels["touched"] = "yes" })
		if got.Labels["app"] != fmt.Sprint("web-", i) {
			t.Fatalf("pod %d is %v", i, got)
		}
		if d := cmp.Diff(runtime.Object(got), runtime.Object(event(t, w))); d != "" {
			t.Fatalf("event (-answer +event):\n%s", d)
		}
		if m, err := meta.Accessor(got); err != nil || m.GetResourceVersion() == pod.ResourceVersion {
			t.Fatalf("not written: %v, %v", got, err)
		}
	}
	if n := f.Pairs(); n != host.MaxPairs {
		t.Errorf("there are %d pairs, want %d", n, host.MaxPairs)
	}
}
