// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"
)

// An idle cluster asks its host six times a minute at most, however many kinds
// watch and whenever they look.
func TestIdleHostIsAskedByOneWatchForAll(t *testing.T) {
	const watches, minutes = 4, 10
	for _, apart := range []time.Duration{0, time.Second, 3 * time.Second, 5 * time.Second} {
		clock := testclock.NewFakePassiveClock(time.Now())
		p := newPulse(clock, 30*time.Second)
		p.beat()
		var asked int
		end := clock.Now().Add(minutes * time.Minute)
		for at := clock.Now(); at.Before(end); at = at.Add(p.tick()) {
			for i := range watches {
				clock.SetTime(at.Add(time.Duration(i) * apart))
				if err := p.check(t.Context(), func(context.Context) error { asked++; return nil }); err != nil {
					t.Fatal(err)
				}
			}
		}
		if asked > 6*minutes || asked < 4*minutes {
			t.Errorf("watches that look %s after one another asked %d times in %d minutes", apart, asked, minutes)
		}
	}
}

func TestSilentHostIsAskedByEveryWatch(t *testing.T) {
	clock := testclock.NewFakePassiveClock(time.Now())
	p := newPulse(clock, 30*time.Second)
	p.beat()
	silence := errors.New("silence")
	ask := func(context.Context) error { return silence }
	if err := p.check(t.Context(), ask); err != nil {
		t.Errorf("a host that was just heard: %v", err)
	}
	clock.SetTime(clock.Now().Add(p.tick()))
	for range 2 {
		if err := p.check(t.Context(), ask); !errors.Is(err, silence) {
			t.Errorf("error %v, want %v", err, silence)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := p.check(ended, func(ctx context.Context) error { return ctx.Err() }); err != nil {
		t.Errorf("the end of the watch that asks passes for the host's: %v", err)
	}
}

// The time in which a dead connection is noticed stays within the bound.
func TestSilenceIsNoticedWithinTheBound(t *testing.T) {
	p := newPulse(testclock.NewFakePassiveClock(time.Now()), 30*time.Second)
	if worst := p.rest() + p.tick() + p.patience(); worst > p.bound {
		t.Errorf("noticed after %s, bound %s", worst, p.bound)
	}
}
