// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestWatcherNotesEachStepOnce(t *testing.T) {
	w := &watcher{at: moments{}}
	pod := &corev1.Pod{}
	has := func(want ...moment) {
		t.Helper()
		w.note(pod)
		seen := w.seen()
		if len(seen) != len(want) {
			t.Errorf("seen %v, want %v", seen, want)
		}
		for _, at := range want {
			if seen[at].IsZero() {
				t.Errorf("%s is not seen", at)
			}
		}
	}
	has(there)
	first := w.seen()[there]
	pod.Spec.NodeName = "node"
	has(there, scheduled)
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}}}
	has(there, scheduled)
	pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}
	has(there, scheduled, started)
	pod.Status.Conditions[0].Status = corev1.ConditionTrue
	has(there, scheduled, started, ready)
	if again := w.seen()[there]; !again.Equal(first) {
		t.Errorf("first seen at %s, and then at %s", first, again)
	}
}

func TestReportHasPartsAndTheMark(t *testing.T) {
	at := time.Unix(100, 0)
	run := func(slower time.Duration) moments {
		m := moments{}
		for i, step := range order {
			m[step] = at.Add(time.Duration(i) * (time.Second + slower))
		}
		return m
	}
	var b strings.Builder
	report(&b, options{runs: 3}, []moments{run(0), run(time.Second), run(0)})
	for _, want := range []string{"| " + string(answered) + " | 6.00 s | 1.00 s | 2.00 s |", "mark: 10s at most, met"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, b.String())
		}
	}
	b.Reset()
	m := run(time.Minute)
	delete(m, scheduled)
	report(&b, options{runs: 1}, []moments{m})
	for _, want := range []string{string(scheduled) + " | not seen", "missed"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, b.String())
		}
	}
}
