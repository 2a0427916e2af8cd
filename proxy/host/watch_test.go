// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/storage"
	testclock "k8s.io/utils/clock/testing"

	"portico.dev/portico/proxy/host"
	"portico.dev/portico/rewrite"
)

// watchAll watches as the cache does, from the revision of a list.
func (f *fixture) watchAll() watch.Interface {
	f.t.Helper()
	var list corev1.PodList
	if err := f.GetList(f.t.Context(), "/pods", storage.ListOptions{Recursive: true, Predicate: storage.Everything}, &list); err != nil {
		f.t.Fatal(err)
	}
	w, err := f.Watch(f.t.Context(), "/pods", storage.ListOptions{
		Recursive: true, Predicate: storage.Everything, ResourceVersion: list.ResourceVersion, ProgressNotify: true,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(w.Stop)
	return w
}

// next returns the next event, as "TYPE name@rv".
func next(t *testing.T, w watch.Interface) string {
	t.Helper()
	select {
	case ev, ok := <-w.ResultChan():
		if !ok {
			return "closed"
		}
		m, err := meta.Accessor(ev.Object)
		if err != nil {
			return string(ev.Type)
		}
		s := string(ev.Type)
		if m.GetName() != "" {
			s += " " + m.GetNamespace() + "/" + m.GetName()
		}
		return s + "@" + m.GetResourceVersion()
	case <-time.After(20 * time.Second):
		t.Fatal("no event")
		return ""
	}
}

func (f *fixture) expect(w watch.Interface, want string) {
	f.t.Helper()
	if got := next(f.t, w); got != want {
		f.t.Fatalf("event %q, want %q", got, want)
	}
}

func TestWatchTranslates(t *testing.T) {
	f := newFixture(t, "pods")
	w := f.watchAll()
	pod := f.create(newPod("demo", "web"))
	f.expect(w, "ADDED demo/web@1001")
	f.mustUpdate(as(t.Context(), ""), pod, func(p *corev1.Pod) { p.Labels["x"] = "y" })
	f.expect(w, "MODIFIED demo/web@1002")
	rv := f.host.bookmark()
	f.expect(w, "BOOKMARK@"+rvString(rv))
	f.host.remove("pods", hostWeb)
	f.expect(w, "DELETED demo/web@1004")
	if got, _ := f.GetCurrentResourceVersion(t.Context()); got != 1004 {
		t.Errorf("current revision %d", got)
	}
}

func TestUnreadableObjectDoesNotEndAWatch(t *testing.T) {
	f := newFixture(t, "pods")
	f.create(newPod("demo", "web"))
	w := f.watchAll()
	f.host.put("pods", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "somebodys", Labels: map[string]string{rewrite.LabelCluster: "vc"}}})
	// Nothing to show, but readers that wait for the revision get on.
	f.expect(w, "BOOKMARK@1002")
	// An object that was shown and can no longer be read is taken back.
	f.host.edit("pods", hostWeb, func(h tree) { delete(md(h)["annotations"].(tree), rewrite.AnnotationName) })
	f.expect(w, "DELETED demo/web@1003")
	f.create(newPod("demo", "other"))
	f.expect(w, "ADDED demo/other@1004")
}

func TestWatchOutlivesTheHostConnection(t *testing.T) {
	f := newFixture(t, "pods")
	pod := f.create(newPod("demo", "web"))
	w := f.watchAll()
	f.host.edit("pods", hostWeb, func(h tree) { h["status"] = tree{"phase": "Running"} })
	f.expect(w, "MODIFIED demo/web@1002")
	f.host.setDown(true)
	f.host.edit("pods", hostWeb, func(h tree) { h["status"] = tree{"phase": "Failed"} })
	f.host.setDown(false)
	f.expect(w, "MODIFIED demo/web@1003")
	f.host.dropWatches()
	f.host.remove("pods", hostWeb)
	f.expect(w, "DELETED demo/web@1004")
	if err := f.Fresh(); err != nil {
		t.Errorf("after it came back: %v", err)
	}
	_ = pod
}

func TestWatchEndsWhenTheHistoryIsGone(t *testing.T) {
	f := newFixture(t, "pods")
	w := f.watchAll()
	f.create(newPod("demo", "web"))
	f.expect(w, "ADDED demo/web@1001")
	f.host.setDown(true)
	f.host.compact()
	f.host.setDown(false)
	ev, ok := <-w.ResultChan()
	st, isStatus := ev.Object.(*metav1.Status)
	if !ok || ev.Type != watch.Error || !isStatus || st.Reason != metav1.StatusReasonExpired {
		t.Fatalf("event %v %v", ev.Type, ev.Object)
	}
	f.expect(w, "closed")
}

func TestWatchStops(t *testing.T) {
	f := newFixture(t, "pods")
	w := f.watchAll()
	w.Stop()
	f.expect(w, "closed")
}

func TestWatchRefusesInitialEvents(t *testing.T) {
	f := newFixture(t, "pods")
	yes := true
	if _, err := f.Watch(t.Context(), "/pods", storage.ListOptions{Recursive: true, SendInitialEvents: &yes}); err == nil {
		t.Error("accepted")
	}
	if !f.IsWatchListSemanticsUnSupported() {
		t.Error("the cache would ask for it")
	}
}

// The deletion of an object whose last finalizer went has a revision that is
// not in the host's reply. A reader waits for the watch to show it.
func TestReleasedObjectIsGoneForReaders(t *testing.T) {
	f := newFixture(t, "pods")
	pod := newPod("demo", "web")
	pod.Finalizers = []string{"example.com/a"}
	out := f.create(pod)
	w := f.watchAll()
	out = f.mustUpdate(as(t.Context(), ""), out, begin(0))
	f.expect(w, "MODIFIED demo/web@"+out.ResourceVersion)
	f.mustUpdate(as(t.Context(), ""), out, func(p *corev1.Pod) { p.Finalizers = nil })
	got := next(t, w)
	if rv, _ := f.GetCurrentResourceVersion(t.Context()); got != "DELETED demo/web@"+rvString(rv) {
		t.Errorf("event %q, current revision %d", got, rv)
	}
}

// A connection can die without a word. The watch is asked about when it has
// been quiet, and is lost when there is no answer.
func TestSilentlyDeadWatchIsNoticed(t *testing.T) {
	clock := testclock.NewFakeClock(time.Now())
	f := newFixture(t, "pods", func(c *host.Config) { c.Clock, c.StaleBound = clock, 30*time.Second })
	w := f.watchAll()
	f.create(newPod("demo", "web"))
	f.expect(w, "ADDED demo/web@1001")
	f.host.mu.Lock()
	f.host.answer = func(c call) *metav1.Status {
		return &metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: 503}
	}
	f.host.mu.Unlock()
	poll(t, func() bool {
		clock.Step(5 * time.Second)
		return f.Fresh() != nil
	})
	f.host.mu.Lock()
	f.host.answer = nil
	f.host.mu.Unlock()
	poll(t, func() bool {
		clock.Step(time.Second)
		return f.Fresh() == nil
	})
	f.host.edit("pods", hostWeb, func(h tree) { h["status"] = tree{"phase": "Running"} })
	f.expect(w, "MODIFIED demo/web@1002")
}

// A host, or something before it, that takes every watch and drops it at once
// must not be asked in a tight loop.
func TestDroppedWatchesAreNotAskedForInALoop(t *testing.T) {
	clock := testclock.NewFakeClock(time.Now())
	f := newFixture(t, "pods", func(c *host.Config) { c.Clock = clock })
	f.host.mu.Lock()
	f.host.dropAll = true
	f.host.mu.Unlock()
	f.watchAll()
	// The clock stands still, so a pause never ends.
	poll(t, func() bool { return clock.HasWaiters() && f.host.count("WATCH") > 0 })
	if n := f.host.count("WATCH"); n > 1 {
		t.Errorf("asked %d times without a pause", n)
	}
}
