// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package queue_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"

	"portico.dev/portico/sync/internal/queue"
)

// source is an informer that reports a test's events.
type source struct {
	cache.SharedIndexInformer
	handler cache.ResourceEventHandler
	synced  bool
	store   cache.Store
}

func (s *source) AddEventHandler(h cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
	s.handler = h
	return s, nil
}

func (s *source) GetStore() cache.Store               { return s.store }
func (s *source) HasSynced() bool                     { return s.synced }
func (s *source) HasSyncedChecker() cache.DoneChecker { return nil }

type waiter []cache.InformerSynced

func (w *waiter) Await(s ...cache.InformerSynced) { *w = append(*w, s...) }

func TestListenerGetsObjectsOnly(t *testing.T) {
	pod := func(name string) *corev1.Pod { return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}} }
	var got []string
	note := func(event string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { got = append(got, event+" "+p.Name) }
	}
	s, w := &source{}, &waiter{}
	on := queue.On[*corev1.Pod]{
		Added: note("added"), Deleted: note("deleted"),
		Changed: func(old, obj *corev1.Pod) { got = append(got, fmt.Sprintf("changed %s %s", old.Name, obj.Name)) },
	}
	if err := queue.Listen(w, "pods", s, on); err != nil {
		t.Fatal(err)
	}
	if len(*w) != 1 {
		t.Errorf("the loop waits for %d informers, want 1", len(*w))
	}
	s.handler.OnAdd(pod("a"), true)
	s.handler.OnUpdate(pod("a"), pod("b"))
	s.handler.OnDelete(pod("c"))
	s.handler.OnDelete(cache.DeletedFinalStateUnknown{Key: "d", Obj: pod("d")})
	s.handler.OnDelete(cache.DeletedFinalStateUnknown{Key: "e"}) // the informer does not have it
	s.handler.OnAdd(&corev1.Node{}, false)
	if want := []string{"added a", "changed a b", "deleted c", "deleted d"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	got = nil
	if err := queue.Listen(w, "pods", s, queue.Each(note("each"))); err != nil {
		t.Fatal(err)
	}
	s.handler.OnAdd(pod("a"), true)
	s.handler.OnUpdate(pod("a"), pod("b"))
	s.handler.OnDelete(cache.DeletedFinalStateUnknown{Key: "d", Obj: pod("d")})
	if want := []string{"each a", "each b", "each d"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	// Functions that are not given ignore their events.
	if err := queue.Listen(w, "pods", s, queue.On[*corev1.Pod]{}); err != nil {
		t.Fatal(err)
	}
	s.handler.OnAdd(pod("a"), true)
	s.handler.OnUpdate(pod("a"), pod("b"))
	s.handler.OnDelete(pod("c"))
}

// A replica that does not lead never takes keys out of its queue: it must put none
// in. When it leads, it looks at all objects that are there.
func TestLoopCollectsNothingBeforeItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod := func(name string) *corev1.Pod { return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}} }
		handled := make(chan string)
		l := queue.NewLoop("test", nil, func(_ context.Context, key string) (time.Duration, error) {
			handled <- key
			return 0, nil
		})
		s, always := &source{synced: true, store: cache.NewStore(cache.MetaNamespaceKeyFunc)}, &source{synced: true}
		var heard, heardAlways []string
		if err := queue.Listen(l, "pods", s, queue.Each(func(p *corev1.Pod) {
			heard = append(heard, p.Name)
			l.Add(p.Name)
		})); err != nil {
			t.Fatal(err)
		}
		if err := queue.Listen(queue.Always(l), "pods", always, queue.Each(func(p *corev1.Pod) { heardAlways = append(heardAlways, p.Name) })); err != nil {
			t.Fatal(err)
		}
		if err := s.store.Add(pod("there")); err != nil {
			t.Fatal(err)
		}
		for _, h := range []cache.ResourceEventHandler{s.handler, always.handler} {
			h.OnAdd(pod("there"), false)
			h.OnUpdate(pod("there"), pod("there"))
			h.OnDelete(pod("gone"))
		}
		if l.Begun() || len(heard) > 0 {
			t.Errorf("heard of %v before the loop runs", heard)
		}
		if want := []string{"there", "there", "gone"}; !slices.Equal(heardAlways, want) {
			t.Errorf("always heard of %v, want %v", heardAlways, want)
		}

		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.Run(ctx, 1, informers.NewSharedInformerFactory(fake.NewClientset(), 0)) }()
		if got := <-handled; got != "there" {
			t.Errorf("handled %q", got)
		}
		s.handler.OnDelete(pod("later"))
		if got := <-handled; got != "later" {
			t.Errorf("handled %q", got)
		}
		synctest.Wait()
		if want := []string{"there", "later"}; !slices.Equal(heard, want) {
			t.Errorf("heard of %v, want %v", heard, want)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestLoopWaitsForCachesAndEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handled := make(chan string, 1)
		l := queue.NewLoop("test", nil, func(_ context.Context, key string) (time.Duration, error) {
			handled <- key
			return 0, nil
		})
		filled := make(chan struct{})
		l.Await(func() bool {
			select {
			case <-filled:
				return true
			default:
				return false
			}
		})
		l.Add("a")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		shared, own := informers.NewSharedInformerFactory(fake.NewClientset(), 0), informers.NewSharedInformerFactory(fake.NewClientset(), 0)
		go func() { ended <- l.Run(ctx, 1, shared, own) }()
		<-time.After(time.Minute)
		if len(handled) > 0 {
			t.Error("a key was handled before the cache was filled")
		}
		close(filled)
		if got := <-handled; got != "a" {
			t.Errorf("handled %q", got)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestLoopEndsWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := queue.NewLoop("test", nil, func(context.Context, string) (time.Duration, error) {
			t.Error("handled a key")
			return 0, nil
		})
		l.Await(func() bool { return false })
		l.Add("a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Run(ctx, 1, informers.NewSharedInformerFactory(fake.NewClientset(), 0)); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}
