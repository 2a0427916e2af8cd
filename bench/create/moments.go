// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// moment is a step on the way, in words.
type moment string

// The moments of a creation, in their order.
const (
	start     moment = "portico create starts"
	there     moment = "the chart is applied: the host has made the pod"
	scheduled moment = "the pod has a node"
	started   moment = "porticod's container runs: volumes, sandbox, image"
	ready     moment = "porticod serves: the pod is ready"
	returned  moment = "portico create has forwarded a port and returned"
	answered  moment = "kubectl get namespaces has its answer"
)

var order = []moment{start, there, scheduled, started, ready, returned, answered}

// moments are the times of a creation, as this machine sees them.
type moments map[moment]time.Time

func (m moments) since(at moment) time.Duration { return m[at].Sub(m[start]) }

// watcher notes when the pod of the control plane takes each step.
type watcher struct {
	mu sync.Mutex
	at moments
}

// watch begins to watch the pods of a namespace, which does not have to exist.
func watch(ctx context.Context, client kubernetes.Interface, namespace string) (*watcher, error) {
	w := &watcher{at: moments{}}
	pods, err := client.CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{LabelSelector: "portico.dev/door"})
	if err != nil {
		return nil, fmt.Errorf("watch the pods of %s: %w", namespace, err)
	}
	go func() {
		defer pods.Stop()
		for event := range pods.ResultChan() {
			if pod, ok := event.Object.(*corev1.Pod); ok {
				w.note(pod)
			}
		}
	}()
	return w, nil
}

func (w *watcher) note(pod *corev1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	reached := map[moment]bool{there: true, scheduled: pod.Spec.NodeName != ""}
	for _, s := range pod.Status.ContainerStatuses {
		reached[started] = s.State.Running != nil
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			reached[ready] = c.Status == corev1.ConditionTrue
		}
	}
	for at, yes := range reached {
		if _, before := w.at[at]; yes && !before {
			w.at[at] = time.Now()
		}
	}
}

func (w *watcher) seen() moments {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := moments{}
	for at, t := range w.at {
		m[at] = t
	}
	return m
}
