// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"fmt"
)

// SetFault makes the disk fail wherever fault returns an error. The points are
// "before commit", "after commit" and "reopen".
func (e *Engine) SetFault(ctx context.Context, fault func(point string) error) error {
	return e.onWriter(ctx, func() error {
		e.testFault = fault
		return nil
	})
}

// LimitPages limits the size of the file, which to SQLite is a full disk. 0
// lifts the limit.
func (e *Engine) LimitPages(ctx context.Context, extra int64) error {
	return e.onWriter(ctx, func() error {
		limit := int64(1<<32 - 2)
		if extra > 0 {
			pages, err := queryInt(e.disk.conn, `PRAGMA page_count`)
			if err != nil {
				return err
			}
			limit = pages + extra
		}
		_, err := queryInt(e.disk.conn, fmt.Sprintf(`PRAGMA max_page_count = %d`, limit))
		return err
	})
}

// Rows returns how many changes the file holds.
func (e *Engine) Rows(ctx context.Context) (n int64, err error) {
	err = e.onWriter(ctx, func() (err error) {
		n, err = queryInt(e.disk.conn, `SELECT count(*) FROM log`)
		return err
	})
	return n, err
}

// FreePages returns how many pages of the file are free.
func (e *Engine) FreePages(ctx context.Context) (n int64, err error) {
	err = e.onWriter(ctx, func() (err error) {
		n, err = queryInt(e.disk.conn, `PRAGMA freelist_count`)
		return err
	})
	return n, err
}

// onWriter runs fn on the writer goroutine.
func (e *Engine) onWriter(ctx context.Context, fn func() error) error {
	done := make(chan error, 1)
	e.queue.pushJob(func() (bool, error) {
		done <- fn()
		return false, nil
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Fault returns why writes are refused. Each time that the disk was tried in
// vain it is another pointer.
func (e *Engine) Fault() *error { return e.fault.Load() }

// Synchronous returns SQLite's setting of the writer's connection: 2 syncs each
// commit, 1 only checkpoints.
func (e *Engine) Synchronous(ctx context.Context) (n int64, err error) {
	err = e.onWriter(ctx, func() (err error) {
		n, err = queryInt(e.disk.conn, `PRAGMA synchronous`)
		return err
	})
	return n, err
}

// Queued returns how many requests wait for the writer.
func (e *Engine) Queued() int {
	e.queue.mu.Lock()
	defer e.queue.mu.Unlock()
	return len(e.queue.requests)
}
