// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package fairshare

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"
)

// unlimited is the length of a queue that is never full.
const unlimited = math.MaxInt

// errFull is returned for a flow with too much in its queue.
var errFull = errors.New("too many requests wait already")

// bucket is a token bucket whose waiters are queued by flow.
//
// INVARIANT: waiters get tokens before later ones of their flow, and between
// two tokens of one flow every other flow with waiters gets one.
type bucket struct {
	interval time.Duration // of one token
	burst    int
	longest  int // that the queue of a flow can be

	mu     sync.Mutex
	tokens float64
	filled time.Time        // when tokens was right
	flows  map[string]*flow // that have waiters
	turns  []*flow          // the same, next one first
	armed  bool             // a timer will come to hand out tokens
}

type flow struct {
	name    string
	waiters []*waiter
}

// waiter is a request that waits. Its channel is closed when it has a token.
type waiter struct{ ready chan struct{} }

func newBucket(o Options, longest int) *bucket {
	return &bucket{
		interval: time.Second / time.Duration(o.QPS),
		burst:    o.Burst,
		longest:  longest,
		tokens:   float64(o.Burst),
		filled:   time.Now(),
		flows:    map[string]*flow{},
	}
}

// try takes a token if there is one for a request that comes now.
func (b *bucket) try() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.take()
}

// take takes a token unless others wait for one.
// REQUIRES: mu held.
func (b *bucket) take() bool {
	if len(b.turns) > 0 {
		return false
	}
	b.fill()
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// fill adds the tokens of the time that has passed.
// REQUIRES: mu held.
func (b *bucket) fill() {
	now := time.Now()
	b.tokens = min(float64(b.burst), b.tokens+float64(now.Sub(b.filled))/float64(b.interval))
	b.filled = now
}

// wait returns nil when the flow has got a token, errFull if too much of it
// waits already, and the context's error if that ends first. class labels the
// metrics.
func (b *bucket) wait(ctx context.Context, name, class string) error {
	b.mu.Lock()
	if b.take() {
		b.mu.Unlock()
		return nil
	}
	w, err := b.enqueue(name)
	b.mu.Unlock()
	if err != nil {
		return err
	}
	delayed.WithLabelValues(class).Inc()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.withdraw(name, w) {
		// It has got a token meanwhile, which is another's now.
		b.tokens = min(float64(b.burst), b.tokens+1)
		b.handOut()
	}
	return ctx.Err()
}

// enqueue puts a waiter at the end of its flow.
// REQUIRES: mu held.
func (b *bucket) enqueue(name string) (*waiter, error) {
	f := b.flows[name]
	if f == nil {
		f = &flow{name: name}
		b.flows[name] = f
		b.turns = append(b.turns, f)
	}
	if len(f.waiters) >= b.longest {
		return nil, errFull
	}
	w := &waiter{ready: make(chan struct{})}
	f.waiters = append(f.waiters, w)
	b.arm()
	return w, nil
}

// withdraw takes a waiter out of its flow. It reports false if it has got a
// token.
// REQUIRES: mu held.
func (b *bucket) withdraw(name string, w *waiter) bool {
	f := b.flows[name]
	if f == nil {
		return false
	}
	i := slices.Index(f.waiters, w)
	if i < 0 {
		return false
	}
	f.waiters = slices.Delete(f.waiters, i, i+1)
	if len(f.waiters) == 0 {
		delete(b.flows, name)
		b.turns = slices.DeleteFunc(b.turns, func(other *flow) bool { return other == f })
	}
	return true
}

// handOut gives the tokens that there are to the flows in turn.
// REQUIRES: mu held.
func (b *bucket) handOut() {
	b.fill()
	for len(b.turns) > 0 && b.tokens >= 1 {
		b.tokens--
		f := b.turns[0]
		b.turns = b.turns[1:]
		close(f.waiters[0].ready)
		f.waiters = f.waiters[1:]
		if len(f.waiters) == 0 {
			delete(b.flows, f.name)
			continue
		}
		b.turns = append(b.turns, f)
	}
	b.arm()
}

// arm sets a timer for the next token if a request waits for it. REQUIRES: mu
// held.
func (b *bucket) arm() {
	if b.armed || len(b.turns) == 0 {
		return
	}
	b.armed = true
	missing := time.Duration(math.Ceil((1 - b.tokens) * float64(b.interval)))
	time.AfterFunc(max(missing, time.Microsecond), func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.armed = false
		b.handOut()
	})
}
