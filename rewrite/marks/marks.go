// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package marks

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"portico.dev/portico/rewrite"
)

// Annotations of the workload that is the control plane of a cluster on its
// host. The one who writes replicas 0 also writes why, in the same write.
const (
	// AnnotationPaused is "true" from the beginning of a pause to the end of it.
	// Only a person ends it.
	AnnotationPaused = rewrite.Prefix + "paused"
	// AnnotationReplicas is the number of replicas to go back to.
	AnnotationReplicas = rewrite.Prefix + "replicas"

	// AnnotationSleep is on the workload of a cluster that goes to sleep, with
	// the time of inactivity after which it does. The chart writes it.
	AnnotationSleep = rewrite.Prefix + "sleep"
	// AnnotationSleepSchedule is on the workload of a cluster that sleeps by a
	// calendar, and has its times for people to read. The chart writes it.
	AnnotationSleepSchedule = rewrite.Prefix + "sleep-schedule"
	// AnnotationSleepRequested asks porticod to go to sleep now. Its value is
	// the time of the request, or SleepRefused and why it does not.
	AnnotationSleepRequested = rewrite.Prefix + "sleep-requested"
	// AnnotationSleeping is the time since when a cluster sleeps.
	AnnotationSleeping = rewrite.Prefix + "sleeping"
	// AnnotationLastActivity says who used the cluster last, and when: "USER at
	// TIME".
	AnnotationLastActivity = rewrite.Prefix + "last-activity"
	// AnnotationWakeAt is the time at which a sleeping cluster has work to do.
	AnnotationWakeAt = rewrite.Prefix + "wake-at"
	// AnnotationWorkloads is on the workload of a cluster whose pods leave the host
	// in its sleep, until they are back: WorkloadsLeave, or WorkloadsAway when they
	// are gone.
	AnnotationWorkloads = rewrite.Prefix + "workloads"
	// AnnotationWoken says when a cluster was woken, and why: "TIME REASON".
	AnnotationWoken = rewrite.Prefix + "woken"
)

// The values of AnnotationWorkloads.
const (
	WorkloadsLeave = "leaving"
	WorkloadsAway  = "away"
)

// SleepRefused begins the answer to a request.
const SleepRefused = "refused: "

// Why clusters are woken.
const (
	WokenByConnection = "connection"
	WokenByHand       = "hand"
	WokenByTime       = "time"
)

// Rest is how a cluster rests, by the annotations of its workload. Annotations
// that cannot be read are as those that are not there.
type Rest struct {
	Paused bool
	// Sleeping is the time since when it sleeps, and zero unless it does. A
	// cluster that was paused in its sleep is paused only.
	Sleeping time.Time
	// Leaving says that its pods leave the host, and that it scales itself to 0
	// then. It sleeps already, and may be woken.
	Leaving bool
	// WakeAt is zero where nothing is to be done.
	WakeAt time.Time
	// Woken is when it was woken last.
	Woken   time.Time
	WokenBy string
}

// RestOf reads the annotations of a workload and its number of replicas. One who
// scales a sleeping workload up by hand has woken it.
func RestOf(annotations map[string]string, replicas int32) Rest {
	r := Rest{Paused: annotations[AnnotationPaused] == "true"}
	leaves := annotations[AnnotationWorkloads] == WorkloadsLeave
	if (replicas == 0 || leaves) && !r.Paused {
		r.Sleeping = timeOf(annotations[AnnotationSleeping])
	}
	r.Leaving = leaves && replicas > 0 && !r.Sleeping.IsZero()
	if !r.Sleeping.IsZero() {
		r.WakeAt = timeOf(annotations[AnnotationWakeAt])
	}
	at, by, _ := strings.Cut(annotations[AnnotationWoken], " ")
	r.Woken, r.WokenBy = timeOf(at), by
	return r
}

// LastActivity reads AnnotationLastActivity.
func LastActivity(annotations map[string]string) (user string, at time.Time) {
	text := annotations[AnnotationLastActivity]
	// A user's name may have the words in it.
	i := strings.LastIndex(text, activityInfix)
	if i < 0 {
		return "", time.Time{}
	}
	if at = timeOf(text[i+len(activityInfix):]); at.IsZero() {
		return "", at
	}
	return text[:i], at
}

const activityInfix = " at "

// ActivityText is the value of AnnotationLastActivity.
func ActivityText(user string, at time.Time) string { return user + activityInfix + textOf(at) }

// SleepPatch is the merge patch that puts a workload to sleep, if it is still the
// one of the resource version. A zero wakeAt means that there is nothing to do.
func SleepPatch(resourceVersion string, replicas int32, now, wakeAt time.Time, lastActivity string) ([]byte, error) {
	return restPatch(resourceVersion, sleepMarks(replicas, now, wakeAt, lastActivity), 0)
}

// LeavePatch is as SleepPatch, for a cluster whose pods leave the host before it
// is scaled to 0.
func LeavePatch(resourceVersion string, replicas int32, now, wakeAt time.Time, lastActivity string) ([]byte, error) {
	marks := sleepMarks(replicas, now, wakeAt, lastActivity)
	marks[AnnotationWorkloads] = WorkloadsLeave
	return restPatch(resourceVersion, marks, replicas)
}

// AwayPatch is the merge patch that ends what LeavePatch has begun, if the
// workload is still the one of the resource version.
func AwayPatch(resourceVersion string) ([]byte, error) {
	return restPatch(resourceVersion, map[string]any{AnnotationWorkloads: WorkloadsAway}, 0)
}

func sleepMarks(replicas int32, now, wakeAt time.Time, lastActivity string) map[string]any {
	marks := map[string]any{
		AnnotationSleeping: textOf(now), AnnotationReplicas: strconv.Itoa(int(max(replicas, 1))),
		AnnotationWakeAt: nil, AnnotationSleepRequested: nil, AnnotationWoken: nil,
	}
	if !wakeAt.IsZero() {
		marks[AnnotationWakeAt] = textOf(wakeAt)
	}
	if lastActivity != "" {
		marks[AnnotationLastActivity] = lastActivity
	}
	return marks
}

// WakePatch is the merge patch that wakes a workload, if it is still the one of
// the resource version: without that, a pause of the same moment would be undone.
func WakePatch(resourceVersion string, annotations map[string]string, now time.Time, why string) ([]byte, error) {
	return restPatch(resourceVersion, map[string]any{
		AnnotationSleeping: nil, AnnotationReplicas: nil, AnnotationWakeAt: nil, AnnotationSleepRequested: nil,
		AnnotationWoken: textOf(now) + " " + why,
	}, Replicas(annotations))
}

// Replicas is the number of replicas to go back to, at least one.
func Replicas(annotations map[string]string) int32 {
	n, err := strconv.ParseInt(annotations[AnnotationReplicas], 10, 32)
	if err != nil || n < 1 {
		return 1
	}
	return int32(n)
}

// AwakePatch is the merge patch that takes the marks of sleep off a workload that
// runs, and nil if it has none. A request alone is none: it waits for its answer.
func AwakePatch(resourceVersion string, annotations map[string]string) ([]byte, error) {
	_, sleeping := annotations[AnnotationSleeping]
	_, wakes := annotations[AnnotationWakeAt]
	if !sleeping && !wakes {
		return nil, nil
	}
	marks := map[string]any{}
	for _, key := range []string{AnnotationSleeping, AnnotationWakeAt, AnnotationSleepRequested} {
		if _, has := annotations[key]; has {
			marks[key] = nil
		}
	}
	return json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": resourceVersion, "annotations": marks}})
}

func restPatch(resourceVersion string, marks map[string]any, replicas int32) ([]byte, error) {
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": resourceVersion, "annotations": marks},
		"spec":     map[string]any{"replicas": replicas},
	})
}

func timeOf(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return t
}

func textOf(t time.Time) string { return t.UTC().Format(time.RFC3339) }
