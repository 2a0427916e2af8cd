// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package queue_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"portico.dev/portico/sync/internal/queue"
)

// start runs a queue in the test's bubble, where time passes when everybody waits.
func start(t *testing.T, handle queue.Handler[string]) *queue.Queue[string] {
	t.Helper()
	q := queue.New("test", nil, handle)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); q.Run(ctx, 2) }()
	t.Cleanup(func() { cancel(); <-done })
	return q
}

func TestErrorIsTriedAgainWithGrowingDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		begin, done := time.Now(), make(chan struct{})
		q := start(t, func(context.Context, string) (time.Duration, error) {
			at = append(at, time.Since(begin))
			if len(at) == 4 {
				close(done)
				return 0, nil
			}
			return 0, errors.New("not yet")
		})
		q.Add("a")
		<-done
		for i := 2; i < len(at); i++ {
			if at[i]-at[i-1] <= at[i-1]-at[i-2] {
				t.Errorf("tries at %v: the delay does not grow", at)
			}
		}
	})
}

func TestAgainComesAfterTheTimeAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		begin, done := time.Now(), make(chan struct{})
		q := start(t, func(context.Context, string) (time.Duration, error) {
			at = append(at, time.Since(begin))
			if len(at) == 2 {
				close(done)
				return 0, nil
			}
			return time.Hour, nil
		})
		q.Add("a")
		<-done
		if at[1] < time.Hour || at[1] > time.Hour+time.Minute {
			t.Errorf("looked at again after %v, want an hour", at[1])
		}
	})
}

func TestKeyIsHandledByOneWorkerAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running, runs := make(chan struct{}, 1), make(chan struct{}, 2)
		var q *queue.Queue[string]
		q = start(t, func(context.Context, string) (time.Duration, error) {
			select {
			case running <- struct{}{}:
			default:
				t.Error("the key is handled twice at the same time")
			}
			if len(runs) == 0 {
				q.Add("a") // must wait for this run to end
			}
			<-time.After(time.Second) // the bubble's time: it passes once the other workers wait
			<-running
			runs <- struct{}{}
			return 0, nil
		})
		q.Add("a")
		<-time.After(time.Minute)
		if len(runs) != 2 {
			t.Errorf("handled %d times, want 2", len(runs))
		}
	})
}
