// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/k3s-io/kine/pkg/server"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// settled is kine's backend with the order of an etcd.
//
// A database gives out revisions when rows are inserted and shows the rows when
// their transactions commit, and the two orders differ: revision 8 may be read
// while 7 is still to come. kine's polling waits for 7, but its lists and the
// beginnings of its watches do not: they answer "as of revision 8", and a
// client that goes on to watch from 9 never sees 7. An informer would keep a
// wrong object until the next change of it
// (https://github.com/k3s-io/kine/issues/676).
//
// A revision is settled when it and all before it are committed, or never will
// be. settled answers as of settled revisions only.
type settled struct {
	server.Backend
	table   revisions
	known   atomic.Int64  // a settled revision
	writers chan struct{} // has room for those who may write at a time
	filling sync.Mutex
}

func newSettled(backend server.Backend, table revisions) *settled {
	return &settled{Backend: backend, table: table, writers: make(chan struct{}, maxWriters)}
}

// revisions are the queries of the table that kine does not have.
type revisions interface {
	// look returns the revision compacted to, the highest revision, and how many
	// after from and up to to are there.
	look(ctx context.Context, from, to int64) (compacted, current, n int64, err error)
	// fillers counts the rows of look that only fill gaps.
	fillers(ctx context.Context, from, to int64) (int64, error)
	// fill writes fillers in the place of missing revisions, of some of them if
	// there are many. It waits for transactions that may still put something
	// there.
	fill(ctx context.Context, from, to int64) error
}

// How long to wait for the revisions of others. The pause is doubled up to its
// maximum. kine fills the gaps of failed transactions much sooner than we do.
const (
	minPause  = 2 * time.Millisecond
	maxPause  = 50 * time.Millisecond
	fillAfter = time.Second
)

// begin finds the settled revision. A gap that others do not close in the time
// that they may take is an old one: rows were removed, or the table was
// restored.
func (s *settled) begin(ctx context.Context) error {
	_, current, _, err := s.table.look(ctx, 0, 0)
	if err != nil {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, fillAfter)
	defer cancel()
	if err := s.settle(soon, current); err != nil && soon.Err() == nil {
		return err
	}
	s.learn(current)
	return nil
}

// settle returns when a revision is settled, and server.ErrFutureRev if there is
// no such revision yet.
func (s *settled) settle(ctx context.Context, revision int64) error {
	begin, pause := time.Now(), minPause
	for {
		from := s.known.Load()
		if revision <= from {
			return nil
		}
		compacted, current, n, err := s.table.look(ctx, from, revision)
		switch {
		case err != nil:
			return fmt.Errorf("look for gaps in the revisions: %w", err)
		case compacted > from: // Rows up to there are gone for good reason.
			s.learn(compacted)
			continue
		case current < revision:
			return server.ErrFutureRev
		case n == revision-from:
			s.learn(revision)
			return nil
		}
		if time.Since(begin) > fillAfter && s.filling.TryLock() {
			err := s.table.fill(ctx, from, revision)
			s.filling.Unlock()
			if err != nil {
				return fmt.Errorf("fill gaps in the revisions: %w", err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
			pause = min(2*pause, maxPause)
		}
	}
}

// learn remembers a settled revision.
func (s *settled) learn(revision int64) {
	for {
		known := s.known.Load()
		if revision <= known || s.known.CompareAndSwap(known, revision) {
			return
		}
	}
}

// at reads at a revision, or at the newest if it is 0, and returns that
// revision. A read from before its revision was known to be settled is
// repeated.
func (s *settled) at(ctx context.Context, revision int64, read func(revision int64) (int64, error)) (int64, error) {
	if revision > 0 {
		if err := s.settle(ctx, revision); err != nil {
			return 0, err
		}
		return read(revision)
	}
	for {
		known := s.known.Load()
		current, err := read(0)
		if err != nil || current <= known {
			return current, err
		}
		if err := s.settle(ctx, current); err != nil {
			return 0, err
		}
		if _, err = read(current); !errors.Is(err, server.ErrCompacted) {
			return current, err
		}
	}
}

// Get implements server.Backend.
func (s *settled) Get(ctx context.Context, key string, revision int64, keysOnly bool) (current int64, kv *server.KeyValue, err error) {
	current, err = s.at(ctx, revision, func(revision int64) (n int64, err error) {
		n, kv, err = s.Backend.Get(ctx, key, revision, keysOnly)
		return n, err
	})
	return current, kv, err
}

// Errors of List.
var (
	errEverything = status.Error(codes.Unimplemented, "keys can only be listed by a prefix")
	errBrokenOff  = status.Error(codes.Unavailable, "the database's answer broke off")
)

// List implements server.Backend. kine takes an answer that breaks off for a
// whole one (sqllog.RowsToEvents), and the missing keys would seem to be
// deleted: so an answer with fewer keys than requested is checked against a
// count.
func (s *settled) List(ctx context.Context, key, end string, limit, revision int64, keysOnly bool) (current int64, kvs []*server.KeyValue, err error) {
	if key == "" {
		return 0, nil, errEverything // kine can't do it at a revision.
	}
	current, err = s.at(ctx, revision, func(revision int64) (int64, error) {
		var n int64
		if n, kvs, err = s.Backend.List(ctx, key, end, limit, revision, keysOnly); err != nil {
			return n, err
		}
		if limit > 0 && int64(len(kvs)) >= limit {
			return n, nil
		}
		if revision == 0 {
			revision = n
		}
		_, count, err := s.Backend.Count(ctx, key, end, revision)
		if err == nil && count != int64(len(kvs)) {
			err = errBrokenOff
		}
		return n, err
	})
	return current, kvs, err
}

// Count implements server.Backend.
func (s *settled) Count(ctx context.Context, key, end string, revision int64) (current, count int64, err error) {
	current, err = s.at(ctx, revision, func(revision int64) (n int64, err error) {
		n, count, err = s.Backend.Count(ctx, key, end, revision)
		return n, err
	})
	return current, count, err
}
