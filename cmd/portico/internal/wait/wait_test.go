// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package wait

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"portico.dev/portico/cmd/portico/internal/output"
)

func TestUntilShowsReasonsAfterThreeSecondsAndWhenTheyChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var said []string
		err := Until(t.Context(), Options{
			For: "it", Limit: time.Minute,
			Why: func(context.Context) string {
				if time.Since(began) < 10*time.Second {
					return "image"
				}
				return "probe"
			},
			Say: func(format string, args ...any) {
				said = append(said, fmt.Sprintf("%.0fs ", time.Since(began).Seconds())+fmt.Sprintf(format, args...))
			},
		}, func(context.Context) (bool, error) { return time.Since(began) > 20*time.Second, nil })
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"3s waiting for it: image", "10s waiting for it: probe"}
		if diff := cmp.Diff(want, said); diff != "" {
			t.Errorf("said (-want +got):\n%s", diff)
		}
	})
}

func TestUntilSaysNothingWhenItIsQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := Until(t.Context(), Options{For: "it", Limit: time.Minute, Say: t.Errorf},
			func(context.Context) (bool, error) { return time.Since(began) > 2*time.Second, nil })
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestUntilEndsAtItsLimitWithTheReasonAndTheFlag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := Until(t.Context(), Options{For: "it", Limit: 2 * time.Second, Flag: "--timeout", Why: func(context.Context) string { return "image" }},
			func(context.Context) (bool, error) { return false, nil })
		var text strings.Builder
		if code := output.Report(&text, err); code != 1 {
			t.Errorf("code %d, want 1", code)
		}
		want := "error: waited 2s for it: image\nhint: the same command goes on from here; --timeout waits longer\n"
		if diff := cmp.Diff(want, text.String()); diff != "" {
			t.Errorf("error (-want +got):\n%s", diff)
		}
		if waited := time.Since(began); waited != 2*time.Second {
			t.Errorf("waited %s, want 2s", waited)
		}
	})
}

func TestUntilEndsWithTheContextAndWithAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		never := func(context.Context) (bool, error) { return false, nil }
		if err := Until(ctx, Options{For: "it", Limit: time.Minute}, never); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want that of the context", err)
		}
		broken := errors.New("broken")
		if err := Until(t.Context(), Options{For: "it", Limit: time.Minute}, func(context.Context) (bool, error) { return false, broken }); !errors.Is(err, broken) {
			t.Errorf("error %v, want %v", err, broken)
		}
	})
}

func TestPodsSaysWhyTheyAreNotReady(t *testing.T) {
	pod := func(status corev1.PodStatus) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "vc-0", Namespace: "ns", UID: "second", Labels: map[string]string{"door": "vc"}}, Status: status}
	}
	event := func(name, reason, message string, at int64) *corev1.Event {
		return &corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{Name: fmt.Sprintf("%s.%d", name, at), Namespace: "ns"},
			InvolvedObject: corev1.ObjectReference{Name: name}, Type: corev1.EventTypeWarning,
			Reason: reason, Message: message, LastTimestamp: metav1.Unix(at, 0),
		}
	}
	former := event("vc-0", "FailedScheduling", "no volume", 1)
	former.InvolvedObject.UID = "first"
	waiting := func(reason, message string) corev1.PodStatus {
		return corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
			Name: "porticod", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}}}
	}
	crashed := waiting("CrashLoopBackOff", "back-off")
	crashed.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: "starting\nerror: no rights\n"}
	for name, tc := range map[string]struct {
		pod    *corev1.Pod
		events []*corev1.Event
		want   string
	}{
		"no pod, and nobody knows why":      {want: "it has no pod yet"},
		"no pod, and the newest warning":    {events: []*corev1.Event{event("vc", "FailedCreate", "old", 1), event("vc", "FailedCreate", "exceeded quota", 2)}, want: "it has no pod: FailedCreate: exceeded quota"},
		"no node":                           {pod: pod(corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/2 nodes"}}}), want: "pod vc-0: it has no node: 0/2 nodes"},
		"no image":                          {pod: pod(waiting("ImagePullBackOff", "not found")), want: "pod vc-0: container porticod: ImagePullBackOff: not found"},
		"it crashes: its last line":         {pod: pod(crashed), want: "pod vc-0: container porticod: CrashLoopBackOff, ended with code 1 (Error): error: no rights"},
		"it is made, which is no reason":    {pod: pod(waiting("ContainerCreating", "")), want: "pod vc-0: it is pending"},
		"an event is about a pod before it": {pod: pod(waiting("ContainerCreating", "")), events: []*corev1.Event{former}, want: "pod vc-0: it is pending"},
		"it is made, and an event says why": {pod: pod(waiting("ContainerCreating", "")), events: []*corev1.Event{event("vc-0", "FailedMount", "no volume", 1), event("other", "Failed", "", 3)}, want: "pod vc-0: FailedMount: no volume"},
		"it runs":                           {pod: pod(corev1.PodStatus{Phase: corev1.PodRunning}), want: "pod vc-0: it runs, and is not ready yet"},
		"it is ready":                       {pod: pod(corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}), want: ""},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset()
			if tc.pod != nil {
				if err := client.Tracker().Add(tc.pod); err != nil {
					t.Fatal(err)
				}
			}
			for _, e := range tc.events {
				if err := client.Tracker().Add(e); err != nil {
					t.Fatal(err)
				}
			}
			if got := Pods(client, "ns", "door=vc", "vc")(t.Context()); got != tc.want {
				t.Errorf("reason %q, want %q", got, tc.want)
			}
		})
	}
}
