// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"portico.dev/portico/store"
	"portico.dev/portico/store/mvcc"
)

const (
	// maxBatch bounds a commit, so that the first caller of a batch does not
	// wait for all of a burst.
	maxBatch = 1024
	// jobPatience is how long housekeeping waits for a pause between writes
	// before it is done anyway. It does not wait longer than for as much to be
	// written as one step of it can clear away: garbage would grow without
	// bound under a steady load.
	jobPatience = 100 * time.Millisecond
	jobBytes    = 4 << 20
	// retryInterval is how often an idle store with a fault tries the disk.
	retryInterval = time.Second
)

// request is a transaction that waits for the writer.
type request struct {
	ctx  context.Context
	fn   func(*mvcc.Tx) error
	rev  int64
	err  error
	done chan struct{}

	// housekeeping gives space back. It is done also while there is no room for
	// other writes, because it may make room.
	housekeeping bool
}

// job is housekeeping on the writer's connection. It returns whether there is
// more of it to do.
type job func() (more bool, err error)

// queue is where callers meet the writer.
type queue struct {
	wake chan struct{} // capacity 1

	mu       sync.Mutex
	requests []*request
	jobs     []job
	closed   bool
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

func (q *queue) push(r *request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return store.ErrClosed
	}
	q.requests = append(q.requests, r)
	q.signal()
	return nil
}

func (q *queue) pushJob(j job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs = append(q.jobs, j)
	q.signal()
}

// take returns the next batch of requests, or a job if jobs are allowed and
// there are no requests, or jobs have waited long enough.
func (q *queue) take(jobs, overdue bool) (requests []*request, next job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if jobs && len(q.jobs) > 0 && (overdue || len(q.requests) == 0) {
		next = q.jobs[0]
		q.jobs = q.jobs[1:]
		return nil, next
	}
	if len(q.requests) <= maxBatch {
		requests, q.requests = q.requests, nil
		return requests, nil
	}
	requests, q.requests = q.requests[:maxBatch:maxBatch], q.requests[maxBatch:]
	return requests, nil
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

func (q *queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Update runs fn as one transaction at the tip of the store and returns the
// store's revision after it. If fn returns an error, the transaction has no
// effect and Update returns that error. The transaction is durable and visible
// when Update returns nil.
//
// If ctx ends while Update waits, the transaction may or may not happen, and fn
// may run after Update returned.
func (e *Engine) Update(ctx context.Context, fn func(*mvcc.Tx) error) (int64, error) {
	return e.submit(&request{ctx: ctx, fn: fn, done: make(chan struct{})})
}

func (e *Engine) submit(r *request) (int64, error) {
	if err := e.queue.push(r); err != nil {
		return 0, err
	}
	select {
	case <-r.done:
		return r.rev, r.err
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
}

// writeLoop is the writer goroutine.
func (e *Engine) writeLoop(ctx context.Context) {
	defer e.failAll()
	lastJob := time.Now()
	for ctx.Err() == nil {
		// Jobs wait for a disk that works; a request tries to make it work.
		broken := e.fault.Load() != nil
		requests, next := e.queue.take(!broken || e.usable, time.Since(lastJob) > jobPatience || e.jobIsDue())
		switch {
		case next != nil:
			e.runJob(ctx, next)
			lastJob = time.Now()
			e.sinceJob.changes, e.sinceJob.bytes = 0, 0
		case len(requests) > 0:
			e.runBatch(ctx, requests)
			e.boundWAL(ctx)
		default:
			var retry <-chan time.Time
			if broken {
				retry = time.After(retryInterval)
			}
			select {
			case <-e.queue.wake:
			case <-retry:
				_ = e.recover(ctx)
			case <-ctx.Done():
			}
		}
	}
}

// runBatch evaluates, writes and publishes requests, and answers them.
func (e *Engine) runBatch(ctx context.Context, requests []*request) {
	if e.fault.Load() != nil {
		if err := e.recover(ctx); err != nil {
			if requests = e.refuse(requests, err); len(requests) == 0 {
				return
			}
		}
	}
	b := e.index.Begin()
	for _, r := range requests {
		if r.err = r.ctx.Err(); r.err == nil {
			r.rev, r.err = b.Do(r.fn)
		}
	}
	if !b.Empty() {
		if err := e.write(b); err != nil {
			e.failedBytes = max(e.failedBytes, batchBytes(b))
			// Also those whose own transaction failed: it may have failed
			// because of one that did not happen.
			answer(requests, e.setFault(ctx, err))
			return
		}
		e.index.Publish(b)
		e.boundHistory()
	}
	answer(requests, nil)
}

// answer wakes the callers of requests, with an error or with each one's
// result.
func answer(requests []*request, err error) {
	for _, r := range requests {
		if err != nil {
			r.err = err
		}
		close(r.done)
	}
}

// refuse answers requests that cannot be written now and returns the ones that
// can: housekeeping, if only room is missing.
func (e *Engine) refuse(requests []*request, err error) (rest []*request) {
	var refused []*request
	for _, r := range requests {
		if r.housekeeping && e.usable {
			rest = append(rest, r)
		} else {
			refused = append(refused, r)
		}
	}
	answer(refused, err)
	return rest
}

func (e *Engine) write(b *mvcc.Batch) error {
	if err := e.injected("before commit"); err != nil {
		return err
	}
	if err := e.disk.write(b); err != nil {
		return err
	}
	size := batchBytes(b)
	e.sinceJob.changes += int64(len(b.Versions()))
	e.sinceJob.bytes += size
	e.countWAL(size)
	return e.injected("after commit")
}

func (e *Engine) jobIsDue() bool {
	return e.sinceJob.changes >= sweepChunk || e.sinceJob.bytes >= jobBytes
}

func (e *Engine) runJob(ctx context.Context, j job) {
	more, err := j()
	if err != nil {
		_ = e.setFault(ctx, err)
	}
	if more {
		e.queue.pushJob(j)
	}
}

// setFault notes that the disk failed and returns the error for callers.
func (e *Engine) setFault(ctx context.Context, err error) error {
	err = fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	e.usable = false
	if e.fault.Swap(&err) == nil {
		klog.FromContext(ctx).Error(err, "Store stopped accepting writes", "path", e.path)
	}
	return err
}

// failAll answers everything that is still queued when the engine closes.
func (e *Engine) failAll() {
	e.queue.mu.Lock()
	defer e.queue.mu.Unlock()
	e.queue.closed = true
	for _, r := range e.queue.requests {
		r.err = store.ErrClosed
		close(r.done)
	}
	e.queue.requests, e.queue.jobs = nil, nil
}

// injected returns the fault that a test asked for.
func (e *Engine) injected(point string) error {
	if e.testFault == nil {
		return nil
	}
	return e.testFault(point)
}
