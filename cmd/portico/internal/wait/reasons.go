// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package wait

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// Pods returns a function for Options.Why that says why the pods of a workload
// are not ready: from their conditions and containers, and from the warnings
// about them, or about the workload while it has no pods.
func Pods(client kubernetes.Interface, namespace, selector, workload string) func(context.Context) string {
	return func(ctx context.Context) string {
		pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return fmt.Sprintf("the pods cannot be listed: %v", err)
		}
		if len(pods.Items) == 0 {
			if w := warning(ctx, client, namespace, workload, ""); w != "" {
				return "it has no pod: " + w
			}
			return "it has no pod yet"
		}
		slices.SortFunc(pods.Items, func(a, b corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
		for i := range pods.Items {
			pod := &pods.Items[i]
			if Ready(pod) && pod.DeletionTimestamp == nil {
				continue
			}
			reason, certain := Problem(pod)
			if !certain {
				// Of this pod, and not of one before with its name.
				if w := warning(ctx, client, namespace, pod.Name, pod.UID); w != "" {
					reason = w
				}
			}
			return fmt.Sprintf("pod %s: %s", pod.Name, reason)
		}
		return ""
	}
}

// Ready reports whether a pod is ready.
func Ready(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// Problem says why a pod is not ready, and whether that says it all: otherwise
// an event about it may say more.
func Problem(pod *corev1.Pod) (reason string, certain bool) {
	if pod.DeletionTimestamp != nil {
		return "it is being deleted", true
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Message != "" {
			return "it has no node: " + c.Message, true
		}
	}
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if r, ok := containerProblem(c); ok {
			return r, true
		}
	}
	if pod.Status.Phase == corev1.PodRunning {
		return "it runs, and is not ready yet", false
	}
	return "it is " + strings.ToLower(string(cmp.Or(pod.Status.Phase, corev1.PodPending))), false
}

func containerProblem(c corev1.ContainerStatus) (string, bool) {
	if w := c.State.Waiting; w != nil && !slices.Contains([]string{"", "ContainerCreating", "PodInitializing"}, w.Reason) {
		text := fmt.Sprintf("container %s: %s", c.Name, w.Reason)
		if last := c.LastTerminationState.Terminated; last != nil {
			return text + ended(last), true
		}
		if w.Message != "" {
			text += ": " + w.Message
		}
		return text, true
	}
	if t := c.State.Terminated; t != nil && t.ExitCode != 0 {
		return fmt.Sprintf("container %s%s", c.Name, ended(t)), true
	}
	return "", false
}

func ended(t *corev1.ContainerStateTerminated) string {
	text := fmt.Sprintf(", ended with code %d (%s)", t.ExitCode, t.Reason)
	if lines := strings.Split(strings.TrimSpace(t.Message), "\n"); lines[len(lines)-1] != "" {
		text += ": " + lines[len(lines)-1]
	}
	return text
}

// warning returns the newest warning about an object: any of the name, or the one
// with the uid.
func warning(ctx context.Context, client kubernetes.Interface, namespace, name string, uid types.UID) string {
	events, err := client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.Set{"involvedObject.name": name, "type": corev1.EventTypeWarning}.String(),
	})
	if err != nil {
		return ""
	}
	about := slices.DeleteFunc(events.Items, func(e corev1.Event) bool {
		another := uid != "" && e.InvolvedObject.UID != "" && e.InvolvedObject.UID != uid
		return another || e.InvolvedObject.Name != name || e.Type != corev1.EventTypeWarning
	})
	if len(about) == 0 {
		return ""
	}
	newest := slices.MaxFunc(about, func(a, b corev1.Event) int { return Seen(a).Compare(Seen(b)) })
	return newest.Reason + ": " + newest.Message
}

// Seen is when an event was last seen.
func Seen(e corev1.Event) time.Time {
	if !e.LastTimestamp.IsZero() {
		return e.LastTimestamp.Time
	}
	return e.EventTime.Time
}
