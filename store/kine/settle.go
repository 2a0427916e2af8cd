// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/k3s-io/kine/pkg/server"
)

// settled is kine's backend with the order of an etcd.
//
// A database gives out revisions when rows are inserted and shows the rows when
// their transactions commit, and the two orders differ: revision 8 may be read
// while 7 is still to come. kine's polling waits for 7, but its lists and the
// beginnings of its watches do not: they answer "as of revision 8", and who
// goes on to watch from 9 never hears of 7. An informer would keep a wrong
// object until the next change of it
// (https://github.com/k3s-io/kine/issues/676).
//
// A revision is settled when it and all before it are committed, or never will
// be. settled answers as of settled revisions only.
type settled struct {
	server.Backend
	table revisions
	known atomic.Int64 // a settled revision
}

// revisions is what has to be asked of the table beside kine.
type revisions interface {
	// look returns the revision compacted to, the highest revision, and how many
	// after from and up to to are there.
	look(ctx context.Context, from, to int64) (compacted, current, n int64, err error)
	// fillers counts the rows of look that only fill gaps.
	fillers(ctx context.Context, from, to int64) (int64, error)
	// fill writes fillers in the place of what is not there. It waits for
	// transactions that may still put something there.
	fill(ctx context.Context, from, to int64) error
}

// How long to wait for the revisions of others. Between is doubled up to its
// maximum; kine fills the gaps of failed transactions much sooner than fillAfter.
const (
	betweenLooks    = 2 * time.Millisecond
	maxBetweenLooks = 50 * time.Millisecond
	fillAfter       = time.Second
)

// settle returns when a revision is settled. One that there is not yet is left
// to kine to refuse.
func (s *settled) settle(ctx context.Context, revision int64) error {
	begin, pause := time.Now(), betweenLooks
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
			return nil
		case n == revision-from:
			s.learn(revision)
			return nil
		}
		if time.Since(begin) > fillAfter {
			if err := s.table.fill(ctx, from, revision); err != nil {
				return fmt.Errorf("fill gaps in the revisions: %w", err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
			pause = min(2*pause, maxBetweenLooks)
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

// at reads at a revision, or at the newest if it is 0, and returns which that is.
// What is read before its revision was known to be settled is read again.
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

// List implements server.Backend.
func (s *settled) List(ctx context.Context, key, end string, limit, revision int64, keysOnly bool) (current int64, kvs []*server.KeyValue, err error) {
	current, err = s.at(ctx, revision, func(revision int64) (n int64, err error) {
		n, kvs, err = s.Backend.List(ctx, key, end, limit, revision, keysOnly)
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

// errSkipped ends a watch that kine left something out of.
var errSkipped = errors.New("a revision was committed too late to be watched")

// Watch implements server.Backend. The watch begins with what there is from the
// revision on, without gaps, or with what comes next if the revision is 0.
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
	for {
		known := max(s.known.Load(), revision-1)
		attempt, cancel := context.WithCancel(ctx)
		watch := s.Backend.Watch(attempt, revision)
		select {
		case err := <-watch.Errorc:
			cancel()
			return failed(watch, err)
		default:
		}
		first, open := <-watch.Eventc
		if watch.CompactRevision != 0 || !open {
			cancel()
			return failed(watch, nil)
		}
		if complete(known, first) {
			s.learn(first.CurrentRev)
			events, errs := make(chan server.EventBatch, 1), make(chan error, 1)
			events <- first
			go func() {
				defer cancel()
				defer close(events)
				if err := s.forward(attempt, first.CurrentRev, watch.Eventc, events); err != nil {
					errs <- err
				}
			}()
			return server.WatchResult{CurrentRevision: watch.CurrentRevision, Eventc: events, Errorc: errs}
		}
		cancel()
		if err := s.settle(ctx, first.CurrentRev); err != nil {
			return failed(watch, err)
		}
	}
}

// complete is whether a batch has every revision after from.
func complete(from int64, batch server.EventBatch) bool {
	return int64(len(batch.After(from).Events)) >= batch.CurrentRev-from
}

// forward passes on the batches that come after a revision, as long as nothing
// is missing from them. kine's polling goes past a gap of a second's age.
func (s *settled) forward(ctx context.Context, last int64, in <-chan server.EventBatch, out chan<- server.EventBatch) error {
	for batch := range in {
		if batch.CurrentRev > last {
			if !complete(last, batch) {
				// kine does not show its fillers.
				n, err := s.table.fillers(ctx, last, batch.CurrentRev)
				if err != nil {
					return err
				}
				if int64(len(batch.After(last).Events))+n < batch.CurrentRev-last {
					return errSkipped
				}
			}
			last = batch.CurrentRev
			s.learn(last)
		}
		select {
		case out <- batch:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// failed is a watch that is over.
func failed(watch server.WatchResult, err error) server.WatchResult {
	events, errs := make(chan server.EventBatch), make(chan error, 1)
	close(events)
	if err != nil {
		errs <- err
	}
	return server.WatchResult{CurrentRevision: watch.CurrentRevision, CompactRevision: watch.CompactRevision, Eventc: events, Errorc: errs}
}

// table is revisions in a database.
type table struct{ *sql.DB }

func (t table) look(ctx context.Context, from, to int64) (compacted, current, n int64, err error) {
	err = t.QueryRowContext(ctx, fmt.Sprintf(`SELECT
		(SELECT COALESCE(MAX(prev_revision), 0) FROM kine WHERE name = '%s'),
		(SELECT COALESCE(MAX(id), 0) FROM kine),
		(SELECT COUNT(*) FROM kine WHERE id > %d AND id <= %d)`, compactionKey, from, to)).Scan(&compacted, &current, &n)
	return compacted, current, n, err
}

// filler is the beginning of the name of a row that fills a gap, as kine has it.
const filler = "gap-"

func (t table) fillers(ctx context.Context, from, to int64) (n int64, err error) {
	err = t.QueryRowContext(ctx, fmt.Sprintf(`SELECT COUNT(*) FROM kine WHERE id > %d AND id <= %d AND name LIKE '%s%%'`,
		from, to, filler)).Scan(&n)
	return n, err
}

func (t table) fill(ctx context.Context, from, to int64) error {
	rows, err := t.QueryContext(ctx, fmt.Sprintf(`SELECT id FROM kine WHERE id > %d AND id <= %d ORDER BY id`, from, to))
	if err != nil {
		return err
	}
	var missing []int64
	next := from + 1
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return errors.Join(err, rows.Close())
		}
		for ; next < id; next++ {
			missing = append(missing, next)
		}
		next = id + 1
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, id := range missing {
		_, err := t.ExecContext(ctx, fmt.Sprintf(`INSERT INTO kine(id, name, created, deleted, create_revision, prev_revision, lease)
			VALUES (%d, '%s%d', 0, 1, 0, 0, 0)`, id, filler, id))
		if err != nil && !duplicate(err) {
			return err
		}
	}
	return nil
}

// Codes of the databases for a row whose key there is already.
const (
	postgresDuplicate = "23505"
	mysqlDuplicate    = 1062
)

func duplicate(err error) bool {
	var p *pgconn.PgError
	var m *mysql.MySQLError
	return errors.As(err, &p) && p.Code == postgresDuplicate || errors.As(err, &m) && m.Number == mysqlDuplicate
}
