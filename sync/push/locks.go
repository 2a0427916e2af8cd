// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package push

import (
	"context"
	"sync"
)

// locks is one lock per key, made when it is first wanted and dropped after its
// last holder.
type locks[K comparable] struct {
	mu    sync.Mutex
	locks map[K]*entry
}

type entry struct {
	held    chan struct{}
	waiting int
}

// lock waits for the lock of key, or for ctx to end. The caller must call
// unlock if err is nil.
func (l *locks[K]) lock(ctx context.Context, key K) (unlock func(), err error) {
	l.mu.Lock()
	if l.locks == nil {
		l.locks = map[K]*entry{}
	}
	e := l.locks[key]
	if e == nil {
		e = &entry{held: make(chan struct{}, 1)}
		l.locks[key] = e
	}
	e.waiting++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if e.waiting--; e.waiting == 0 {
			delete(l.locks, key)
		}
	}
	select {
	case e.held <- struct{}{}:
		return func() { <-e.held; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
