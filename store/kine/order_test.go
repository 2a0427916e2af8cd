// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kine

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/k3s-io/kine/pkg/server"
)

// fakeLog is kine's backend with the first batch of each watch, and with the
// batches that follow.
type fakeLog struct {
	server.Backend
	begins  []server.EventBatch
	batches []server.EventBatch
	watches int
}

func (f *fakeLog) Watch(context.Context, int64) server.WatchResult {
	events := make(chan server.EventBatch, 1+len(f.batches))
	first := f.begins[f.watches]
	f.watches++
	events <- first
	for _, b := range f.batches {
		events <- b
	}
	close(events)
	return server.WatchResult{CurrentRevision: first.CurrentRev, Eventc: events, Errorc: make(chan error)}
}

// fakeTable is revisions of which some are fillers.
type fakeTable struct {
	rows, filled []int64
	compacted    int64
	looks        int
}

func (f *fakeTable) look(_ context.Context, from, to int64) (compacted, current, n int64, err error) {
	f.looks++
	return f.compacted, slices.Max(f.rows), count(f.rows, from, to), nil
}

func (f *fakeTable) fillers(_ context.Context, from, to int64) (int64, error) {
	return count(f.filled, from, to), nil
}

func (f *fakeTable) fill(context.Context, int64, int64) error { return errors.New("nothing to fill") }

func count(ids []int64, from, to int64) (n int64) {
	for _, id := range ids {
		if id > from && id <= to {
			n++
		}
	}
	return n
}

func batch(current int64, revisions ...int64) server.EventBatch {
	b := server.EventBatch{CurrentRev: current}
	for _, r := range revisions {
		b.Events = append(b.Events, &server.Event{KV: &server.KeyValue{ModRevision: r}})
	}
	return b
}

func TestWatchLeavesNothingOut(t *testing.T) {
	for name, c := range map[string]struct {
		log     fakeLog
		table   fakeTable
		want    []int64
		watches int
		err     error
	}{
		"all there": {
			log:  fakeLog{begins: []server.EventBatch{batch(7, 5, 6, 7)}, batches: []server.EventBatch{batch(9, 8, 9), batch(10, 10)}},
			want: []int64{5, 6, 7, 8, 9, 10}, watches: 1,
		},
		"begun before a commit": {
			log: fakeLog{
				begins:  []server.EventBatch{batch(7, 5, 7), batch(8, 5, 6, 7, 8)},
				batches: []server.EventBatch{batch(8), batch(9, 9)},
			},
			table: fakeTable{rows: []int64{1, 2, 3, 4, 5, 6, 7, 8}},
			want:  []int64{5, 6, 7, 8, 9}, watches: 2,
		},
		"gaps of transactions that failed": {
			log:   fakeLog{begins: []server.EventBatch{batch(4)}, batches: []server.EventBatch{batch(7, 5, 7), batch(10, 8, 10)}},
			table: fakeTable{filled: []int64{6, 9}},
			want:  []int64{5, 7, 8, 10}, watches: 1,
		},
		"begun with half of the answer": {
			log:  fakeLog{begins: []server.EventBatch{batch(7, 5, 6), batch(7, 5, 6, 7)}},
			want: []int64{5, 6, 7}, watches: 2,
			table: fakeTable{rows: []int64{5, 6, 7}},
		},
		"polled past a transaction": {
			log:   fakeLog{begins: []server.EventBatch{batch(4)}, batches: []server.EventBatch{batch(5, 5), batch(8, 6, 8), batch(9, 9)}},
			table: fakeTable{rows: []int64{7}},
			want:  []int64{5}, watches: 1, err: errSkipped,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSettled(&c.log, &c.table)
			s.learn(4)
			watch := s.Watch(t.Context(), 5)
			var got []int64
			for b := range watch.Eventc {
				for _, e := range b.Events {
					got = append(got, e.KV.ModRevision)
				}
			}
			var err error
			select {
			case err = <-watch.Errorc:
			default:
			}
			if !slices.Equal(got, c.want) || !errors.Is(err, c.err) || c.log.watches != c.watches {
				t.Errorf("watched %v, %v, in %d watches of kine; want %v, %v, %d", got, err, c.log.watches, c.want, c.err, c.watches)
			}
			if last := c.want[len(c.want)-1]; s.known.Load() != last {
				t.Errorf("settled is %d, want %d", s.known.Load(), last)
			}
		})
	}
}

// A watch from a revision on settles nothing before that revision.
func TestWatchFromTheUnsettled(t *testing.T) {
	s := newSettled(&fakeLog{begins: []server.EventBatch{batch(7)}, batches: []server.EventBatch{batch(8, 8)}}, &fakeTable{})
	s.learn(5)
	n := 0
	for b := range s.Watch(t.Context(), 8).Eventc {
		n += len(b.Events)
	}
	if n != 1 || s.known.Load() != 5 {
		t.Errorf("watched %d events, settled up to %d; want 1, 5", n, s.known.Load())
	}
}

// Two watches have one batch from kine. Events appended to one's must not be
// written where the other appends.
func TestWatchesShareNothing(t *testing.T) {
	shared := batch(6, 5, 6)
	shared.Events = shared.Events[:1]
	shared.CurrentRev = 5
	s := newSettled(&fakeLog{begins: []server.EventBatch{shared}}, &fakeTable{})
	s.learn(4)
	mine := <-s.Watch(t.Context(), 5).Eventc
	_ = append(mine.Events, nil)
	if len(mine.Events) != 1 || shared.Events[:2][1] == nil {
		t.Errorf("watched %v, and wrote behind the %v that others have", mine, shared)
	}
}

// fakeRows is kine's backend as it is when the database goes away.
type fakeRows struct {
	server.Backend
	rows, there int64
}

func (f *fakeRows) Create(context.Context, string, []byte, int64) (int64, error) { return 3, nil }

func (f *fakeRows) Get(context.Context, string, int64, bool) (int64, *server.KeyValue, error) {
	return 3, nil, nil
}

func (f *fakeRows) List(context.Context, string, string, int64, int64, bool) (int64, []*server.KeyValue, error) {
	return 3, make([]*server.KeyValue, f.rows), nil
}

func (f *fakeRows) Count(context.Context, string, string, int64) (int64, int64, error) {
	return 3, f.there, nil
}

func TestCreateThatDidNotHappen(t *testing.T) {
	if _, err := newSettled(&fakeRows{}, &fakeTable{}).Create(t.Context(), "/a", nil, 0); !errors.Is(err, errNotWritten) {
		t.Error(err)
	}
}

func TestListThatBrokeOff(t *testing.T) {
	for name, c := range map[string]struct {
		rows, limit int64
		want        error
	}{
		"all":            {4, 0, nil},
		"fewer":          {3, 0, errBrokenOff},
		"a page":         {2, 2, nil},
		"the last page":  {4, 5, nil},
		"part of a page": {3, 5, errBrokenOff},
	} {
		s := newSettled(&fakeRows{rows: c.rows, there: 4}, &fakeTable{})
		s.learn(3)
		if _, _, err := s.List(t.Context(), "/a", "/b", c.limit, 0, false); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestSettledIsNotAskedAgain(t *testing.T) {
	f := &fakeTable{rows: []int64{3, 4, 5}, compacted: 2}
	s := newSettled(nil, f)
	for range 2 {
		if err := s.settle(t.Context(), 5); err != nil {
			t.Fatal(err)
		}
	}
	if f.looks != 2 || s.known.Load() != 5 {
		t.Errorf("settled up to %d after %d looks; want 5 after 2: at what is compacted, and after", s.known.Load(), f.looks)
	}
	if err := s.settle(t.Context(), 6); !errors.Is(err, server.ErrFutureRev) || s.known.Load() != 5 {
		t.Errorf("a revision to come: %v, settled up to %d", err, s.known.Load())
	}
}
