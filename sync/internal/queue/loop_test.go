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

// source is an informer that reports what a test says.
type source struct {
	cache.SharedIndexInformer
	handler cache.ResourceEventHandler
	synced  bool
}

func (s *source) AddEventHandler(h cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
	s.handler = h
	return s, nil
}

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
