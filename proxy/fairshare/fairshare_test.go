// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package fairshare_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"

	"portico.dev/portico/proxy/fairshare"
)

func as(ctx context.Context, name string) context.Context {
	return request.WithUser(ctx, &user.DefaultInfo{Name: name})
}

// log is who got a token, and how long after the beginning.
type log struct {
	began time.Time

	mu    sync.Mutex
	names []string
	last  map[string]time.Duration
}

func newLog() *log { return &log{began: time.Now(), last: map[string]time.Duration{}} }

func (l *log) add(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names = append(l.names, name)
	l.last[name] = time.Since(l.began)
}

// flood starts n requests of a user and returns when all of them wait or are
// through.
func flood(t *testing.T, l *fairshare.Limiter, got *log, name string, n int) {
	t.Helper()
	for range n {
		go func() {
			if err := l.Wait(as(t.Context(), name)); err == nil {
				got.add(name)
			}
		}()
	}
	synctest.Wait()
}

func TestBurstThenRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, got := fairshare.NewLimiter(fairshare.Options{QPS: 10, Burst: 20}), newLog()
		flood(t, l, got, "a", 30)
		if n := len(got.names); n != 20 {
			t.Errorf("%d requests at once, want the burst of 20", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(got.names); n != 30 {
			t.Errorf("%d requests after a second, want 10 more", n)
		}
		time.Sleep(time.Hour)
		flood(t, l, got, "a", 25)
		if n := len(got.names); n != 50 {
			t.Errorf("%d requests after a pause, want the burst again", n)
		}
		time.Sleep(time.Second)
	})
}

// A user floods the host to starve the others of the same cluster.
func TestAttackFloodStarvesOtherUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, got := fairshare.NewLimiter(fairshare.Options{QPS: 10, Burst: 1000}), newLog()
		flood(t, l, got, "mallory", 2000)
		got.began = time.Now()
		flood(t, l, got, "alice", 1)
		flood(t, l, got, "bob", 3)
		time.Sleep(time.Minute)
		synctest.Wait()
		if d := got.last["alice"]; d == 0 || d > 300*time.Millisecond {
			t.Errorf("the other user's request waited for %v, want at most one token of each user", d)
		}
		if d := got.last["bob"]; d == 0 || d > time.Second {
			t.Errorf("three requests of a third user waited for %v", d)
		}
		if d := got.last["mallory"]; d < 59*time.Second {
			t.Errorf("the flood went on for %v only: it was not limited", d)
		}
		time.Sleep(time.Hour)
	})
}

// A user floods the host; Portico's own requests must not wait for it.
func TestAttackFloodStarvesTheSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, got := fairshare.NewLimiter(fairshare.Options{QPS: 1, Burst: 5}), newLog()
		flood(t, l, got, "mallory", 10)
		began := time.Now()
		for range 5 {
			if err := l.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("the system waited for %v", d)
		}
		time.Sleep(time.Minute)
	})
}

// A user sends more than can ever be let through: it is refused at once and not
// kept in memory, and says when to come again.
func TestAttackFloodFillsTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, got := fairshare.NewLimiter(fairshare.Options{QPS: 1, Burst: 5}), newLog()
		flood(t, l, got, "mallory", 5+5) // the burst, and a full queue
		err := l.Wait(as(t.Context(), "mallory"))
		if after, ok := apierrors.SuggestsClientDelay(err); !apierrors.IsTooManyRequests(err) || !ok || after < 1 {
			t.Errorf("got %v, want 429 with a delay", err)
		}
		flood(t, l, got, "alice", 1)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got.last["alice"] == 0 {
			t.Error("a full queue of one user kept another's request out")
		}
		time.Sleep(time.Minute)
	})
}

// Requests that end while they wait leave their place to others.
func TestWaitersThatGoAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, got := fairshare.NewLimiter(fairshare.Options{QPS: 1, Burst: 3}), newLog()
		flood(t, l, got, "a", 3)
		gone, cancel := context.WithCancel(t.Context())
		late, done := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer done()
		errs := make(chan error, 2)
		for _, ctx := range []context.Context{gone, late} {
			go func() { errs <- l.Wait(as(ctx, "a")) }()
			synctest.Wait()
		}
		flood(t, l, got, "a", 1)
		cancel()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("the client that went away got %v", err)
		}
		if err := <-errs; !apierrors.IsTooManyRequests(err) {
			t.Errorf("the request that ran out of time got %v, want 429", err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(got.names); n != 4 {
			t.Errorf("%d requests went, want that the place of the two is free", n)
		}
		time.Sleep(time.Minute)
	})
}

// Users together never get more than the rate.
func TestRateHoldsForManyUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, got := fairshare.NewLimiter(fairshare.Options{QPS: 100, Burst: 100}), newLog()
		for i := range 50 {
			flood(t, l, got, fmt.Sprintf("user-%d", i), 20)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n := len(got.names); n != 600 {
			t.Errorf("%d requests in 5 seconds, want 100 and 100 a second", n)
		}
		time.Sleep(time.Minute)
	})
}

func BenchmarkWaitBelowTheLimit(b *testing.B) {
	l := fairshare.NewLimiter(fairshare.Options{QPS: 1_000_000_000, Burst: 1_000_000_000})
	ctx := as(b.Context(), "a")
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Wait(ctx); err != nil {
			b.Fatal(err)
		}
	}
}
