// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kine

import (
	"context"
	"errors"
	"slices"

	"github.com/k3s-io/kine/pkg/server"
)

// errSkipped ends a watch that kine left something out of.
var errSkipped = errors.New("a revision was committed too late to be watched")

// Watch implements server.Backend. The watch begins with the changes from the
// revision on, without gaps, or with the next change if the revision is 0.
func (s *settled) Watch(ctx context.Context, revision int64) server.WatchResult {
	if revision == 0 {
		_, current, _, err := s.table.look(ctx, 0, 0)
		if err == nil {
			err = s.settle(ctx, current)
		}
		if err != nil {
			return failed(server.WatchResult{}, err)
		}
		revision = current + 1
	}
	w := watch{settled: s, after: max(revision-1, 1)} // as kine reads it
	first, err := w.begin(ctx)
	if first.CompactRevision != 0 || err != nil {
		return failed(first, err)
	}
	events, errs := make(chan server.EventBatch, 1), make(chan error, 1)
	go func() {
		defer close(events)
		defer func() { w.cancel() }()
		if err := w.run(ctx, first.Eventc, events); err != nil {
			errs <- err
		}
	}()
	return server.WatchResult{CurrentRevision: first.CurrentRevision, Eventc: events, Errorc: errs}
}

// watch passes on the batches of a watch of kine's.
type watch struct {
	*settled
	after  int64
	known  int64 // settled before kine's watch began
	cancel context.CancelFunc
}

// begin begins kine's watch.
func (w *watch) begin(ctx context.Context) (server.WatchResult, error) {
	w.known = w.settled.known.Load()
	ctx, w.cancel = context.WithCancel(ctx)
	watch := w.Backend.Watch(ctx, w.after+1)
	select {
	case err := <-watch.Errorc:
		w.cancel()
		return watch, err
	default:
		if watch.CompactRevision != 0 {
			w.cancel()
		}
		return watch, nil
	}
}

// run passes on batches as long as nothing is missing from them. It is not
// waited for: all watches of an API server are begun one after the other.
func (w *watch) run(ctx context.Context, in <-chan server.EventBatch, out chan<- server.EventBatch) error {
	batch, in, err := w.first(ctx, in)
	open, last := in != nil, w.after
	for open && err == nil {
		last = max(last, batch.CurrentRev)
		// A watch from a revision that is not settled does not settle it.
		if w.after <= w.known {
			w.learn(last)
		}
		// kine's server appends the next events to a batch, and all watches
		// have the same one.
		batch.Events = slices.Clip(batch.Events)
		select {
		case out <- batch:
		case <-ctx.Done():
			return nil
		}
		if batch, open = next(ctx, in); open {
			err = w.check(ctx, last, batch)
		}
	}
	return err
}

// first takes the first batch of kine's watch, and begins again until nothing
// is missing from it. It returns the channel of the rest, nil if there is no
// rest.
func (w *watch) first(ctx context.Context, in <-chan server.EventBatch) (server.EventBatch, <-chan server.EventBatch, error) {
	for {
		batch, open := next(ctx, in)
		if !open {
			return batch, nil, nil
		}
		if w.whole(batch) {
			return batch, in, nil
		}
		w.cancel()
		if err := w.settle(ctx, batch.CurrentRev); err != nil {
			return batch, nil, err
		}
		again, err := w.begin(ctx)
		if err == nil && again.CompactRevision != 0 {
			err = server.ErrCompacted
		}
		if err != nil {
			return batch, nil, err
		}
		in = again.Eventc
	}
}

func next(ctx context.Context, in <-chan server.EventBatch) (batch server.EventBatch, open bool) {
	select {
	case batch, open = <-in:
	case <-ctx.Done():
	}
	return batch, open
}

// whole is whether a first batch leaves out nothing that was not settled. It has
// all rows, also those that fill gaps; its end is missing if the database's
// answer broke off (sqllog.RowsToEvents).
func (w *watch) whole(batch server.EventBatch) bool {
	if batch.CurrentRev <= w.after {
		return true
	}
	n := len(batch.Events)
	return n > 0 && batch.Events[n-1].KV.ModRevision == batch.CurrentRev && missing(batch, max(w.after, w.known)) <= 0
}

// check finds out whether a batch of kine's polling follows a revision. Polling
// passes over fillers, and over transactions that are still open after a
// second.
func (w *watch) check(ctx context.Context, last int64, batch server.EventBatch) error {
	n := missing(batch, last)
	if n <= 0 {
		return nil
	}
	fillers, err := w.table.fillers(ctx, last, batch.CurrentRev)
	if err == nil && fillers < n {
		err = errSkipped
	}
	return err
}

// missing returns how many revisions after one are not in a batch.
func missing(batch server.EventBatch, after int64) int64 {
	return batch.CurrentRev - after - int64(len(batch.After(after).Events))
}

// failed is a watch that is over.
func failed(of server.WatchResult, err error) server.WatchResult {
	events, errs := make(chan server.EventBatch), make(chan error, 1)
	close(events)
	if err != nil {
		errs <- err
	}
	return server.WatchResult{CurrentRevision: of.CurrentRevision, CompactRevision: of.CompactRevision, Eventc: events, Errorc: errs}
}
