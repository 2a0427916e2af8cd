// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package pause_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/rewrite/marks"
	"portico.dev/portico/sync/internal/harness"
	"portico.dev/portico/sync/pause"
)

var now = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// sleepy is the workload of a cluster that goes to sleep.
func sleepy(replicas int32) *appsv1.StatefulSet {
	s := statefulSet(replicas)
	s.Annotations = map[string]string{marks.AnnotationSleep: "30m"}
	return s
}

// obeys has the workload answer requests to sleep as porticod does.
func obeys(t *testing.T, host *fake.Clientset, answer func(*appsv1.StatefulSet)) {
	t.Helper()
	host.PrependReactor("patch", "statefulsets", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if !strings.Contains(string(a.(clienttesting.PatchAction).GetPatch()), marks.AnnotationSleepRequested+`":"2030`) {
			return false, nil, nil
		}
		obj, err := host.Tracker().Get(appsv1.SchemeGroupVersion.WithResource("statefulsets"), ns, harness.Cluster)
		if err != nil {
			return true, nil, err
		}
		s := obj.(*appsv1.StatefulSet).DeepCopy()
		answer(s)
		return true, s, host.Tracker().Update(appsv1.SchemeGroupVersion.WithResource("statefulsets"), s, ns)
	})
}

func sleeps(s *appsv1.StatefulSet) {
	s.Annotations[marks.AnnotationSleeping], s.Annotations[marks.AnnotationWakeAt] = now.Format(time.RFC3339), now.Format(time.RFC3339)
	s.Annotations[marks.AnnotationReplicas] = "3"
	none := int32(0)
	s.Spec.Replicas = &none
}

func TestSleepAndWake(t *testing.T) {
	host := fake.NewClientset(anchor(), sleepy(3), hostPod(t, "bare", nil))
	obeys(t, host, sleeps)
	c := cluster(host)
	if err := c.Sleep(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if pods, _ := names(t, host); len(pods) != 1 {
		t.Errorf("pods of a cluster that sleeps: %v", pods)
	}
	for range 2 { // The second call finds nothing to do.
		if err := c.Wake(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		if n, a := replicas(t, host); n != 3 || len(a) != 2 || a[marks.AnnotationWoken] != "2030-01-01T00:00:00Z hand" {
			t.Errorf("awake with %d replicas and annotations %v", n, a)
		}
	}
}

func TestSleepIsRefused(t *testing.T) {
	c := cluster(fake.NewClientset(anchor(), statefulSet(1)))
	if err := c.Sleep(t.Context(), now); !errors.Is(err, pause.ErrSleepless) {
		t.Errorf("one that never sleeps: %v", err)
	}
	host := fake.NewClientset(anchor(), sleepy(1))
	obeys(t, host, func(s *appsv1.StatefulSet) {
		s.Annotations[marks.AnnotationSleepRequested] = marks.SleepRefused + "Job a/b runs"
	})
	if err := cluster(host).Sleep(t.Context(), now); !errors.Is(err, pause.ErrRefused) || !strings.Contains(err.Error(), "Job a/b runs") {
		t.Errorf("one that is busy: %v", err)
	}
}

// A pause ends a sleep, and comes back to the replicas of before it; a resume
// ends either.
func TestPauseOfAClusterThatSleeps(t *testing.T) {
	asleep := sleepy(0)
	sleeps(asleep)
	host := fake.NewClientset(anchor(), asleep)
	c := cluster(host)
	if err := c.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, a := replicas(t, host)
	if n != 0 || a[marks.AnnotationPaused] != "true" || a[marks.AnnotationReplicas] != "3" || a[marks.AnnotationSleeping] != "" || a[marks.AnnotationWakeAt] != "" {
		t.Errorf("paused with %d replicas and annotations %v", n, a)
	}
	if err := c.Wake(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if n, _ := replicas(t, host); n != 0 {
		t.Errorf("a wake has ended a pause")
	}
	if err := c.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, a := replicas(t, host); n != 3 || len(a) != 1 {
		t.Errorf("resumed with %d replicas and annotations %v", n, a)
	}

	if _, err := host.AppsV1().StatefulSets(ns).Update(t.Context(), asleep, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, a := replicas(t, host); n != 3 || a[marks.AnnotationSleeping] != "" {
		t.Errorf("resumed from its sleep with %d replicas and annotations %v", n, a)
	}
}
