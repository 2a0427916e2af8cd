// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package conditions_test

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"

	"portico.dev/portico/sync/conditions"
)

// fixture is a watcher of one condition, whose looks the test lets happen.
type fixture struct {
	t        *testing.T
	clock    *clocktesting.FakeClock
	recorder *record.FakeRecorder
	looked   chan time.Time
	problem  chan string
}

func watch(t *testing.T, problem string) *fixture {
	t.Helper()
	f := &fixture{
		t: t, clock: clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
		recorder: record.NewFakeRecorder(10), looked: make(chan time.Time), problem: make(chan string),
	}
	w := conditions.New(conditions.Config{
		About: func() *corev1.ObjectReference {
			return &corev1.ObjectReference{Kind: "ConfigMap", Namespace: "team-a", Name: "vc.anchor"}
		}, Events: f.recorder, Clock: f.clock,
		Conditions: []conditions.Condition{{Reason: "StoreFull", Problem: func(now time.Time) string {
			f.looked <- now
			return <-f.problem
		}}},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if got := <-f.recorder.Events; got != "Normal ClusterReady The virtual cluster serves, and is kept in step with the host" {
		t.Errorf("the first Event is %s", got)
	}
	<-f.looked
	f.problem <- problem
	return f
}

// after lets time pass until the next look, and answers it.
func (f *fixture) after(d time.Duration, problem string) {
	f.t.Helper()
	f.clock.Step(d)
	<-f.looked
	f.problem <- problem
}

// reports checks the Event that is there, or that there is none. It comes after
// the look that follows, so that the one before is done with.
func (f *fixture) reports(want string) {
	f.t.Helper()
	var got string
	select {
	case got = <-f.recorder.Events:
	default:
	}
	if got != want {
		f.t.Errorf("got the Event %q, want %q", got, want)
	}
}

func TestAWarningAndItsEnd(t *testing.T) {
	f := watch(t, "")
	f.after(conditions.Interval, "the store is full")
	f.reports("") // of the first look
	f.after(conditions.Interval, "the store is full")
	f.reports("Warning StoreFull the store is full")
	f.after(conditions.Interval, "")
	f.reports("")
	f.after(conditions.Interval, "")
	f.reports("Normal StoreFull This is over after 30s")
	f.after(conditions.Interval, "")
	f.reports("")
}

func TestAWarningIsRepeatedBeforeItIsForgotten(t *testing.T) {
	f := watch(t, "the store is full")
	f.after(29*time.Minute, "the store is full")
	f.reports("Warning StoreFull the store is full")
	f.after(time.Minute, "the store is full")
	f.reports("")
	f.after(conditions.Interval, "the store is full")
	f.reports("Warning StoreFull the store is full")
}
