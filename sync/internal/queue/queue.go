// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"sync"
	"time"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// Handler brings the object behind key to its wanted state. A positive again
// asks for another look after that time; an error asks for one after the key's
// back-off.
type Handler[K comparable] func(ctx context.Context, key K) (again time.Duration, err error)

// Queue hands keys to a Handler.
type Queue[K comparable] struct {
	name   string
	work   workqueue.TypedRateLimitingInterface[K]
	handle Handler[K]
}

// Back-off per key. The first retry comes quickly, because the usual error is a
// race with a write of a moment ago; the longest is well under the time after
// which a person starts to look.
const (
	firstRetry = 20 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// New returns a queue. The name labels its metrics and log lines; it is fixed
// text, never an object's name. A nil clock is the real one.
func New[K comparable](name string, c clock.WithTicker, handle Handler[K]) *Queue[K] {
	if c == nil {
		c = clock.RealClock{}
	}
	return &Queue[K]{
		name: name,
		work: workqueue.NewTypedRateLimitingQueueWithConfig(
			workqueue.NewTypedItemExponentialFailureRateLimiter[K](firstRetry, lastRetry),
			workqueue.TypedRateLimitingQueueConfig[K]{Name: name, Clock: c},
		),
		handle: handle,
	}
}

// Add asks for key to be handled as soon as a worker is free.
func (q *Queue[K]) Add(key K) { q.work.Add(key) }

// AddAfter asks for key to be handled after d.
func (q *Queue[K]) AddAfter(key K, d time.Duration) { q.work.AddAfter(key, d) }

// Run handles keys with so many workers until ctx ends, and returns when all of
// them have finished.
func (q *Queue[K]) Run(ctx context.Context, workers int) {
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			// A panic is a bug of ours: it is logged with its stack and then
			// ends the process, as in every Kubernetes controller. Going on
			// would leave this queue without a worker, silently.
			defer utilruntime.HandleCrashWithContext(ctx)
			for q.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	q.work.ShutDown()
	running.Wait()
}

func (q *Queue[K]) next(ctx context.Context) bool {
	key, shutdown := q.work.Get()
	if shutdown {
		return false
	}
	defer q.work.Done(key)

	again, err := q.handle(ctx, key)
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		klog.FromContext(ctx).Info("Reconciling failed and will be tried again",
			"queue", q.name, "key", key, "retries", q.work.NumRequeues(key), "err", err)
		q.work.AddRateLimited(key)
	default:
		q.work.Forget(key)
		if again > 0 {
			q.work.AddAfter(key, again)
		}
	}
	return true
}
