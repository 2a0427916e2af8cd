// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"fmt"
	"sync/atomic"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// Loop is a Queue and the informers that fill it. In a replica that does not
// lead, a loop does not run; its listeners then ignore their events, because
// the keys would stay in the queue.
type Loop[K comparable] struct {
	*Queue[K]
	synced []cache.InformerSynced
	begun  atomic.Bool
	replay []func()
}

// NewLoop returns a loop that listens to no informer yet: see New and Listen.
func NewLoop[K comparable](name string, c clock.WithTicker, handle Handler[K]) *Loop[K] {
	return &Loop[K]{Queue: New(name, c, handle)}
}

// Await makes Run wait for caches that the handler reads without listening.
func (l *Loop[K]) Await(synced ...cache.InformerSynced) { l.synced = append(l.synced, synced...) }

// Begun reports whether Run was called. Keys that are added before stay in the
// queue until then.
func (l *Loop[K]) Begun() bool { return l.begun.Load() }

func (l *Loop[K]) onBegin(replay func()) { l.replay = append(l.replay, replay) }

// Run starts the informers, waits until their caches are filled, reports all
// objects that are there to listeners, and handles keys with so many workers
// until ctx ends. The shared informers, which belong to others, run on; own
// ones have ended when Run returns. The error is always nil: a ctx that ends
// early is no failure.
func (l *Loop[K]) Run(ctx context.Context, workers int, shared informers.SharedInformerFactory, own ...informers.SharedInformerFactory) error {
	defer l.work.ShutDown() // also of a loop that never began
	l.begun.Store(true)
	shared.Start(ctx.Done())
	for _, f := range own {
		f.Start(ctx.Done())
		defer f.Shutdown()
	}
	if cache.WaitForCacheSync(ctx.Done(), l.synced...) {
		for _, replay := range l.replay {
			replay()
		}
		l.Queue.Run(ctx, workers)
	}
	return nil
}

// On has the reactions to events about objects of type T. A nil function
// ignores its events, and so are objects of other types.
type On[T any] struct {
	Added   func(obj T)
	Changed func(old, obj T)
	// Deleted gets the last known state of an object whose deletion was missed.
	Deleted func(obj T)
}

// Each does the same for all events, with the newest state of the object.
func Each[T any](do func(obj T)) On[T] {
	return On[T]{Added: do, Changed: func(_, obj T) { do(obj) }, Deleted: do}
}

// Waiter is a Loop, with any keys.
type Waiter interface {
	Await(synced ...cache.InformerSynced)
}

// beginner is a Waiter that hears of objects when it begins.
type beginner interface {
	Begun() bool
	onBegin(replay func())
}

// Always makes a listener of a loop that hears all events, also those before the
// loop begins. The listener must bound its memory of them.
func Always(l Waiter) Waiter { return struct{ Waiter }{l} }

// Listen calls on for every event of an informer from the moment at which the
// loop runs, and for every object that is there by then. It makes the loop wait
// for the informer. The noun names its objects in errors.
func Listen[T any](l Waiter, noun string, informer cache.SharedIndexInformer, on On[T]) error {
	handler := on.handler()
	if loop, ok := l.(beginner); ok {
		loop.onBegin(func() {
			for _, obj := range informer.GetStore().List() {
				handler.OnAdd(obj, true)
			}
		})
		handler = &gate{loop, handler}
	}
	registration, err := informer.AddEventHandler(handler)
	if err != nil {
		return fmt.Errorf("listen to %s: %w", noun, err)
	}
	l.Await(registration.HasSynced)
	return nil
}

// gate drops events until the loop begins. The store has the object of a dropped
// event by then: Run looks there later.
type gate struct {
	loop    beginner
	handler cache.ResourceEventHandler
}

func (g *gate) OnAdd(obj any, initial bool) {
	if g.loop.Begun() {
		g.handler.OnAdd(obj, initial)
	}
}

func (g *gate) OnUpdate(old, obj any) {
	if g.loop.Begun() {
		g.handler.OnUpdate(old, obj)
	}
}

func (g *gate) OnDelete(obj any) {
	if g.loop.Begun() {
		g.handler.OnDelete(obj)
	}
}

func (on On[T]) handler() cache.ResourceEventHandler {
	one := func(do func(T)) func(any) {
		if do == nil {
			return nil
		}
		return func(obj any) {
			if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			if o, ok := obj.(T); ok {
				do(o)
			}
		}
	}
	funcs := cache.ResourceEventHandlerFuncs{AddFunc: one(on.Added), DeleteFunc: one(on.Deleted)}
	if on.Changed != nil {
		funcs.UpdateFunc = func(old, obj any) {
			before, ok := old.(T)
			after, ok2 := obj.(T)
			if ok && ok2 {
				on.Changed(before, after)
			}
		}
	}
	return funcs
}
