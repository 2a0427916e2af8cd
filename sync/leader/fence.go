// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package leader

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/clock"
)

// ErrDeposed is the error of a request that a process sent as a leader which it
// no longer is.
var ErrDeposed = errors.New("this replica is not the leader any more")

// fence knows until when this process may act as the leader.
type fence struct {
	clock clock.PassiveClock
	term  time.Duration // counted from the last renewal

	mu        sync.Mutex
	renewedAt time.Time // zero while somebody else leads
}

func (f *fence) renewed(at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.renewedAt = at
}

// led reports whether this process has led since it last gave the Lease up.
func (f *fence) led() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.renewedAt.IsZero()
}

// check returns nil while this process leads.
func (f *fence) check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.renewedAt.IsZero() || f.clock.Since(f.renewedAt) >= f.term {
		return ErrDeposed
	}
	return nil
}

// watchedLock shows a fence the requests that go through a lock.
type watchedLock struct {
	resourcelock.Interface
	fence *fence
	// deposed is called when a leader finds that it is none. Upstream would go
	// on for a RenewDeadline.
	deposed func()
}

// Get implements resourcelock.Interface.
func (l *watchedLock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	r, raw, err := l.Interface.Get(ctx)
	if err == nil && r.HolderIdentity != l.Identity() && l.fence.led() {
		l.fence.renewed(time.Time{})
		l.deposed()
	}
	return r, raw, err
}

// Create implements resourcelock.Interface.
func (l *watchedLock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	asked := l.fence.clock.Now()
	return l.note(asked, l.Interface.Create(ctx, r))
}

// Update implements resourcelock.Interface.
func (l *watchedLock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	asked := l.fence.clock.Now()
	return l.note(asked, l.Interface.Update(ctx, r))
}

func (l *watchedLock) note(asked time.Time, err error) error {
	if err == nil {
		l.fence.renewed(asked)
	}
	return err
}

// release gives the Lease up if it is still ours, so that no replica has to
// wait for its end.
func (l *watchedLock) release(ctx context.Context) error {
	l.fence.renewed(time.Time{}) // With any result: we do not lead any more.
	r, _, err := l.Interface.Get(ctx)
	if err != nil {
		return err
	}
	if r.HolderIdentity != l.Identity() {
		return nil
	}
	now := metav1.NewTime(l.fence.clock.Now())
	return l.Interface.Update(ctx, resourcelock.LeaderElectionRecord{
		LeaderTransitions: r.LeaderTransitions, LeaseDurationSeconds: 1, RenewTime: now, AcquireTime: now,
	})
}

// fencedTransport sends requests while a fence lets it.
type fencedTransport struct {
	next  http.RoundTripper
	fence *fence
}

// RoundTrip implements http.RoundTripper. Reads go through the fence too:
// writes are decided on them.
func (t *fencedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.fence.check(); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper has to; the request is not sent
		}
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, err)
	}
	return t.next.RoundTrip(r)
}

// WrappedRoundTripper lets client-go find the transport below, to close its
// connections.
func (t *fencedTransport) WrappedRoundTripper() http.RoundTripper { return t.next }
