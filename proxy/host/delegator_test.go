// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
	etcdfeature "k8s.io/apiserver/pkg/storage/feature"
	"k8s.io/client-go/kubernetes/scheme"
	testclock "k8s.io/utils/clock/testing"

	"portico.dev/portico/proxy/host"
)

// cached is a fixture with upstream's cache on it.
type cached struct {
	*fixture
	door *host.Delegator
}

func podAttrs(obj runtime.Object) (labels.Set, fields.Set, error) {
	p := obj.(*corev1.Pod)
	return p.Labels, fields.Set{"metadata.name": p.Name, "metadata.namespace": p.Namespace}, nil
}

func newCached(t *testing.T, change ...func(*host.Config)) *cached {
	t.Helper()
	f := newFixture(t, "pods", change...)
	newFunc, newList := typesOf("pods")
	cc, err := cacher.NewCacherFromConfig(cacher.Config{
		Storage: f.Storage, Versioner: storage.APIObjectVersioner{}, GroupResource: schema.GroupResource{Resource: "pods"},
		EventsHistoryWindow: cacher.DefaultEventFreshDuration, ResourcePrefix: "/pods",
		KeyFunc: func(o runtime.Object) (string, error) { return podKey(o.(*corev1.Pod)), nil },
		NewFunc: newFunc, NewListFunc: newList, GetAttrsFunc: podAttrs,
		Codec: scheme.Codecs.LegacyCodec(corev1.SchemeGroupVersion),
	})
	if err != nil {
		t.Fatal(err)
	}
	upstream := cacher.NewCacheDelegator(cc, f.Storage)
	t.Cleanup(func() {
		upstream.Stop()
		cc.Stop()
	})
	return &cached{fixture: f, door: host.NewDelegator(upstream, f.Storage)}
}

func (c *cached) waitReady() {
	c.t.Helper()
	err := wait.PollUntilContextTimeout(c.t.Context(), 5*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) {
		return c.door.ReadinessCheck() == nil, nil
	})
	if err != nil {
		c.t.Fatal("the cache did not become ready")
	}
}

func TestReadsAreAnsweredFromTheCacheAndSeeEveryWrite(t *testing.T) {
	c := newCached(t)
	c.waitReady()
	c.host.writes()
	for i, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		pod := newPod("demo", name)
		if err := c.door.Create(t.Context(), podKey(pod), pod, &corev1.Pod{}, 0); err != nil {
			t.Fatal(err)
		}
		got := &corev1.Pod{}
		if err := c.door.Get(t.Context(), podKey(pod), storage.GetOptions{}, got); err != nil || got.Name != name {
			t.Fatalf("get right after create: %v, %q", err, got.Name)
		}
		var list corev1.PodList
		if err := c.door.GetList(t.Context(), "/pods/demo", storage.ListOptions{Recursive: true, Predicate: storage.Everything}, &list); err != nil || len(list.Items) != i+1 {
			t.Fatalf("list right after create: %v, %d pods, want %d", err, len(list.Items), i+1)
		}
		out := &corev1.Pod{}
		err := c.door.GuaranteedUpdate(t.Context(), podKey(pod), out, false, nil, storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
			in.(*corev1.Pod).Labels["x"] = "y"
			return in, nil
		}), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.door.Get(t.Context(), podKey(pod), storage.GetOptions{}, got); err != nil || got.Labels["x"] != "y" {
			t.Fatalf("get right after update: %v, %v", err, got.Labels)
		}
	}
	if n := c.host.reads(); n != 0 {
		t.Errorf("the host was asked %d times", n)
	}
	for _, name := range []string{"a", "b", "c"} {
		key := "/pods/demo/" + name
		if err := c.door.Delete(t.Context(), key, &corev1.Pod{}, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := c.door.Get(t.Context(), key, storage.GetOptions{}, &corev1.Pod{}); !storage.IsNotFound(err) {
			t.Fatalf("get right after delete: %v", err)
		}
	}
}

// A reader gets an object of its own: changing it must not change the cache.
func TestReaderCannotChangeTheCache(t *testing.T) {
	c := newCached(t)
	c.waitReady()
	pod := newPod("demo", "web")
	if err := c.door.Create(t.Context(), podKey(pod), pod, &corev1.Pod{}, 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got := &corev1.Pod{}
		if err := c.door.Get(t.Context(), podKey(pod), storage.GetOptions{}, got); err != nil {
			t.Fatal(err)
		}
		if got.Labels["app"] != "web" {
			t.Fatalf("the cache has %v", got.Labels)
		}
		got.Labels["app"] = "changed"
	}
}

func TestReadAfterTheLastFinalizerWent(t *testing.T) {
	c := newCached(t)
	c.waitReady()
	pod := newPod("demo", "web")
	pod.Finalizers = []string{"example.com/a"}
	out := c.create(pod)
	out = c.mustUpdate(as(t.Context(), ""), out, begin(0))
	if err := c.door.Delete(t.Context(), podKey(out), &corev1.Pod{}, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.door.Get(t.Context(), podKey(out), storage.GetOptions{}, &corev1.Pod{}); !storage.IsNotFound(err) {
		t.Errorf("get: %v", err)
	}
}

func TestStrictReadsAskTheHost(t *testing.T) {
	c := newCached(t, func(cfg *host.Config) { cfg.Strict = true })
	c.waitReady()
	pod := c.create(newPod("demo", "web"))
	c.host.writes()
	if err := c.door.Get(t.Context(), podKey(pod), storage.GetOptions{}, &corev1.Pod{}); err != nil {
		t.Fatal(err)
	}
	if n := c.host.reads(); n != 1 {
		t.Errorf("the host was asked %d times", n)
	}
}

// supportProgress makes upstream's cache believe that the stores of this
// process report progress, as they do in a virtual cluster.
func supportProgress(t *testing.T) {
	before := etcdfeature.DefaultFeatureSupportChecker
	etcdfeature.DefaultFeatureSupportChecker = everything{before}
	t.Cleanup(func() { etcdfeature.DefaultFeatureSupportChecker = before })
}

type everything struct {
	etcdfeature.FeatureSupportChecker
}

func (everything) Supports(storage.Feature) bool { return true }

// The cache of a replica does not know by itself how far the host is: writes
// and deletions of another replica are in the beginning of a strict watch all
// the same.
func TestStrictWatchBeginsWithWhatOthersWrote(t *testing.T) {
	supportProgress(t)
	c := newCached(t, func(cfg *host.Config) { cfg.Strict = true })
	c.waitReady()
	gone := c.create(newPod("demo", "gone"))
	c.create(newPod("demo", "kept"))
	other := c.replica()

	c.host.setLate(true)
	if err := other.Delete(t.Context(), podKey(gone), &corev1.Pod{}, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	fresh := newPod("demo", "new")
	if err := other.Create(t.Context(), podKey(fresh), fresh, &corev1.Pod{}, 0); err != nil {
		t.Fatal(err)
	}
	lists := c.host.count("LIST")
	told := make(chan struct{})
	go func() {
		defer close(told)
		poll(t, func() bool { return c.host.count("LIST") > lists })
		c.host.setLate(false)
	}()
	initial := true
	w, err := c.door.Watch(t.Context(), "/pods", storage.ListOptions{
		Recursive: true, Predicate: storage.SelectionPredicate{Label: labels.Everything(), Field: fields.Everything(), GetAttrs: podAttrs, AllowWatchBookmarks: true},
		SendInitialEvents: &initial,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	<-told
	var names []string
	for e := range w.ResultChan() {
		if e.Type == watch.Bookmark {
			break
		}
		if e.Type == watch.Error {
			t.Fatal(apierrors.FromObject(e.Object))
		}
		names = append(names, string(e.Type)+" "+e.Object.(*corev1.Pod).Name)
	}
	slices.Sort(names)
	if want := []string{"ADDED kept", "ADDED new"}; !slices.Equal(names, want) {
		t.Errorf("began with %q, want %q", names, want)
	}
}

func TestStrictWatchWithoutAHost(t *testing.T) {
	c := newCached(t, func(cfg *host.Config) { cfg.Strict = true })
	c.waitReady()
	c.host.setDown(true)
	initial := true
	_, err := c.door.Watch(t.Context(), "/pods", storage.ListOptions{Recursive: true, Predicate: storage.Everything, SendInitialEvents: &initial})
	if !apierrors.IsServiceUnavailable(err) {
		t.Errorf("got %v, want 503", err)
	}
}

func TestStaleCacheRefusesOnlyReadsOfTheLatest(t *testing.T) {
	clock := testclock.NewFakeClock(time.Now())
	c := newCached(t, func(cfg *host.Config) { cfg.Clock, cfg.StaleBound = clock, time.Minute })
	c.waitReady()
	pod := c.create(newPod("demo", "web"))
	get := func(rv string) error {
		return c.door.Get(t.Context(), podKey(pod), storage.GetOptions{ResourceVersion: rv}, &corev1.Pod{})
	}
	if err := get(""); err != nil {
		t.Fatal(err)
	}
	watching, err := c.door.Watch(t.Context(), "/pods", storage.ListOptions{Recursive: true, Predicate: storage.Everything, ResourceVersion: pod.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer watching.Stop()

	c.host.setDown(true)
	// Within the bound, the cache still answers.
	if err := get(""); err != nil {
		t.Errorf("just after the loss: %v", err)
	}
	poll(t, func() bool {
		clock.Step(30 * time.Second)
		return c.Fresh() != nil
	})
	if st := statusOf(t, get("")); st.Code != http.StatusServiceUnavailable || st.Details.RetryAfterSeconds == 0 || !strings.Contains(st.Message, "resourceVersion=0") {
		t.Errorf("stale: %+v", st)
	}
	var list corev1.PodList
	if st := statusOf(t, c.door.GetList(t.Context(), "/pods", storage.ListOptions{Recursive: true, Predicate: storage.Everything}, &list)); st.Code != http.StatusServiceUnavailable {
		t.Errorf("stale list: %+v", st)
	}
	if err := get("0"); err != nil {
		t.Errorf("resourceVersion=0 while stale: %v", err)
	}

	// It comes back by itself, and the tenant's watch was never ended.
	c.host.setDown(false)
	poll(t, func() bool {
		clock.Step(5 * time.Second)
		return c.Fresh() == nil
	})
	c.host.edit("pods", hostWeb, func(h tree) { h["status"] = tree{"phase": "Running"} })
	if got := next(t, watching); !strings.HasPrefix(got, "MODIFIED demo/web") {
		t.Errorf("event %q", got)
	}
	poll(t, func() bool {
		got := &corev1.Pod{}
		return c.door.Get(t.Context(), podKey(pod), storage.GetOptions{}, got) == nil && got.Status.Phase == corev1.PodRunning
	})
}

// poll waits for a condition that another goroutine brings about.
func poll(t *testing.T, done func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) { return done(), nil })
	if err != nil {
		t.Fatal("it did not come to pass")
	}
}

func TestCacheThatIsNotReadyAsksTheHost(t *testing.T) {
	c := newCached(t, func(cfg *host.Config) { cfg.CallTimeout = time.Minute })
	c.waitReady()
	pod := c.create(newPod("demo", "web"))
	// The cache loses its history and cannot be filled again.
	c.host.mu.Lock()
	c.host.answer = func(call call) *metav1.Status {
		if call.verb != "LIST" {
			return nil
		}
		return &metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: 503, Reason: metav1.StatusReasonServiceUnavailable}
	}
	c.host.mu.Unlock()
	c.host.compact()
	c.host.dropWatches()
	poll(t, func() bool { return c.door.ReadinessCheck() != nil })
	c.host.writes()
	got := &corev1.Pod{}
	if err := c.door.Get(t.Context(), podKey(pod), storage.GetOptions{}, got); err != nil || got.Name != "web" {
		t.Errorf("get: %v, %q", err, got.Name)
	}
	if n := c.host.reads(); n != 1 {
		t.Errorf("the host was asked %d times", n)
	}
}

func TestPagesFromTheCache(t *testing.T) {
	c := newCached(t)
	c.waitReady()
	for _, n := range []string{"c", "a", "b"} {
		c.create(newPod("demo", n))
	}
	var got []string
	opts := storage.ListOptions{Recursive: true, Predicate: storage.Everything}
	for opts.Predicate.Limit = 1; ; {
		var page corev1.PodList
		if err := c.door.GetList(t.Context(), "/pods/demo", opts, &page); err != nil {
			t.Fatal(err)
		}
		for _, p := range page.Items {
			got = append(got, p.Name)
		}
		if opts.Predicate.Continue = page.Continue; page.Continue == "" {
			break
		}
	}
	if strings.Join(got, "") != "abc" {
		t.Errorf("pages %v", got)
	}
}
