// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"fmt"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// Loop is a Queue and the informers that fill it.
type Loop[K comparable] struct {
	*Queue[K]
	synced []cache.InformerSynced
}

// NewLoop returns a loop that listens to no informer yet: see New and Listen.
func NewLoop[K comparable](name string, c clock.WithTicker, handle Handler[K]) *Loop[K] {
	return &Loop[K]{Queue: New(name, c, handle)}
}

// Await makes Run wait for caches that the handler reads without listening.
func (l *Loop[K]) Await(synced ...cache.InformerSynced) { l.synced = append(l.synced, synced...) }

// Run starts the informers, waits until their caches are filled, and handles
// keys with so many workers until ctx ends. The shared informers, which belong
// to somebody else, run on; own ones have ended when Run returns. The error is
// always nil: a ctx that ends early is no failure.
func (l *Loop[K]) Run(ctx context.Context, workers int, shared informers.SharedInformerFactory, own ...informers.SharedInformerFactory) error {
	defer l.work.ShutDown() // also of a loop that never began
	shared.Start(ctx.Done())
	for _, f := range own {
		f.Start(ctx.Done())
		defer f.Shutdown()
	}
	if cache.WaitForCacheSync(ctx.Done(), l.synced...) {
		l.Queue.Run(ctx, workers)
	}
	return nil
}

// On says what to do with events about objects of type T. A nil function ignores
// its events, and so are objects of other types.
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

// Waiter is a Loop, whatever its keys are.
type Waiter interface {
	Await(synced ...cache.InformerSynced)
}

// Listen calls on for every event of an informer, and makes the loop wait for
// it. what names its objects in errors.
func Listen[T any](l Waiter, what string, informer cache.SharedIndexInformer, on On[T]) error {
	registration, err := informer.AddEventHandler(on.handler())
	if err != nil {
		return fmt.Errorf("listen to %s: %w", what, err)
	}
	l.Await(registration.HasSynced)
	return nil
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
