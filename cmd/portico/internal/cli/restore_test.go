// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/cmd/portico/internal/host"
)

// restorer stands for the pod that replaces the data: it runs at once, and ends
// when it has read its input.
type restorer struct {
	*bench
	read    []string     // the snapshots that it was given whole
	refuses string       // the last words of porticod, if it refuses them
	made    []corev1.Pod // the pods as they were created
}

func newRestorer(t *testing.T) *restorer {
	t.Helper()
	r := &restorer{bench: newBench(t)}
	r.run(0, "create", "vc", "--connect=false")
	r.set(func(s *appsv1.StatefulSet) {
		s.UID = "set"
		s.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"portico.dev/door": "vc"}}
		s.Spec.Template.Spec = corev1.PodSpec{
			ServiceAccountName: "vc", NodeSelector: map[string]string{"disk": "ssd"},
			Containers: []corev1.Container{{Name: "porticod", Image: "registry.example/porticod:1", Args: []string{"serve"}}},
		}
		s.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}}}
	})
	r.client.PrependReactor("create", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if r.power.cutBefore > 0 && r.power.writes+1 >= r.power.cutBefore {
			return false, nil, nil // it never comes about
		}
		pod := a.(clienttesting.CreateAction).GetObject().(*corev1.Pod)
		r.made = append(r.made, *pod.DeepCopy())
		pod.Status.Phase = corev1.PodRunning
		return false, nil, nil
	})
	r.app.feed = func(_ context.Context, _ *host.Host, pod *corev1.Pod, in io.Reader) error {
		content, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		if n := r.replicas(); n != 0 {
			t.Errorf("the data are replaced while %d porticods run", n)
		}
		ended := corev1.ContainerStateTerminated{}
		phase := corev1.PodSucceeded
		if r.refuses != "" {
			phase, ended = corev1.PodFailed, corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: r.refuses}
		} else {
			r.read = append(r.read, string(content))
		}
		now := pod.DeepCopy()
		now.Status = corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{Name: "porticod", State: corev1.ContainerState{Terminated: &ended}}}}
		return r.client.Tracker().Update(corev1.SchemeGroupVersion.WithResource("pods"), now, "portico-vc")
	}
	r.power.writes = 0
	return r
}

func (r *restorer) get() *appsv1.StatefulSet {
	r.t.Helper()
	s, err := r.client.AppsV1().StatefulSets("portico-vc").Get(r.t.Context(), "vc", metav1.GetOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *restorer) replicas() int32 { return *r.get().Spec.Replicas }

func (r *restorer) set(change func(*appsv1.StatefulSet)) {
	r.t.Helper()
	s := r.get()
	change(s)
	if err := r.client.Tracker().Update(appsv1.SchemeGroupVersion.WithResource("statefulsets"), s, "portico-vc"); err != nil {
		r.t.Fatal(err)
	}
}

// isAsBefore checks that the cluster runs, and that nothing is left of a restore.
func (r *restorer) isAsBefore() {
	r.t.Helper()
	if s := r.get(); *s.Spec.Replicas != 1 || len(s.Annotations) != 0 {
		r.t.Errorf("the StatefulSet has %d replicas and the annotations %v", *s.Spec.Replicas, s.Annotations)
	}
	r.noPod()
}

func (r *restorer) noPod() {
	r.t.Helper()
	pods, err := r.client.CoreV1().Pods("portico-vc").List(r.t.Context(), metav1.ListOptions{})
	if err != nil || len(pods.Items) != 0 {
		r.t.Errorf("pods %v are left, %v", pods.Items, err)
	}
}

func TestRestore(t *testing.T) {
	r := newRestorer(t)
	file := write(t, r.dir+"/snapshot", "the store")
	r.run(0, "restore", "vc", file)
	r.says("has the store of the snapshot")
	r.isAsBefore()
	if !slices.Equal(r.read, []string{"the store"}) || len(r.made) != 1 {
		t.Fatalf("the pods %v have read %v", r.made, r.read)
	}
	pod := r.made[0]
	if _, door := pod.Labels["portico.dev/door"]; door || pod.Labels["portico.dev/cluster"] != "vc" || pod.OwnerReferences[0].UID != "set" {
		t.Errorf("the pod has the metadata %+v", pod.ObjectMeta)
	}
	if c := pod.Spec.Containers[0]; c.Image != "registry.example/porticod:1" || !c.Stdin || !c.StdinOnce ||
		!slices.Equal(c.Args, []string{"snapshot", "restore", "--replace", "-", "/var/lib/portico"}) {
		t.Errorf("the container is %+v", c)
	}
	if s := pod.Spec; *s.AutomountServiceAccountToken || s.Volumes[0].PersistentVolumeClaim.ClaimName != "data-vc-0" || s.NodeSelector["disk"] != "ssd" {
		t.Errorf("the pod is %+v", s)
	}
}

func TestRestoreOfAPausedClusterLeavesItPaused(t *testing.T) {
	r := newRestorer(t)
	r.run(0, "pause", "vc")
	r.run(0, "restore", "vc", write(t, r.dir+"/snapshot", "the store"))
	if s := r.get(); *s.Spec.Replicas != 0 || len(s.Annotations) != 2 {
		t.Errorf("the StatefulSet has %d replicas and the annotations %v", *s.Spec.Replicas, s.Annotations)
	}
	r.noPod()
	r.run(0, "resume", "vc")
	r.isAsBefore()
}

// TestRefusedSnapshotLeavesTheCluster: it serves with its old data, and the error
// is porticod's own.
func TestRefusedSnapshotLeavesTheCluster(t *testing.T) {
	r := newRestorer(t)
	r.refuses = "I1126 something\nerror: the file is damaged\nhint: use another one\n"
	r.run(1, "restore", "vc", write(t, r.dir+"/snapshot", "the store"))
	r.says("error: the pod portico-vc/vc-restore: the file is damaged", "hint: use another one")
	r.isAsBefore()
}

// TestSnapshotThatCannotBeSent: the pod waits for its input, in vain, and the
// reason is the host's refusal of the stream.
func TestSnapshotThatCannotBeSent(t *testing.T) {
	r := newRestorer(t)
	r.app.feed = func(context.Context, *host.Host, *corev1.Pod, io.Reader) error {
		return errors.New(`pods "vc-restore" is forbidden: cannot create resource "pods/attach"`)
	}
	r.run(1, "restore", "vc", write(t, r.dir+"/snapshot", "the store"), "--timeout", "1s")
	r.says("waited 1s for the pod vc-restore to end", `cannot create resource "pods/attach"`)
	r.isAsBefore()
}

func TestRestoreChangesNothingThatItCannotRestore(t *testing.T) {
	r := newRestorer(t)
	r.run(2, "restore", "vc")
	r.run(1, "restore", "vc", r.dir+"/missing")
	r.says("no such file")
	r.set(func(s *appsv1.StatefulSet) { s.Spec.VolumeClaimTemplates = nil })
	r.run(1, "restore", "vc", write(t, r.dir+"/snapshot", "the store"))
	r.says("has no claim for its data", "hint: ")
	if r.power.writes != 0 {
		t.Errorf("it wrote %d times", r.power.writes)
	}
	r.isAsBefore()
}

// TestRestoreIsFinishedAfterAKillAtAnyWrite, and after a stream that was cut off.
func TestRestoreIsFinishedAfterAKillAtAnyWrite(t *testing.T) {
	whole := newRestorer(t)
	whole.run(0, "restore", "vc", write(t, whole.dir+"/snapshot", "the store"))
	if whole.power.writes < 6 {
		t.Fatalf("a restore has %d writes only", whole.power.writes)
	}
	for _, before := range []string{"running", "paused"} {
		for cut := 1; cut <= whole.power.writes; cut++ {
			t.Run(fmt.Sprintf("%s, before write %d", before, cut), func(t *testing.T) {
				t.Parallel()
				r := newRestorer(t)
				if before == "paused" {
					r.run(0, "pause", "vc")
					r.power.writes = 0
				}
				file := write(t, r.dir+"/snapshot", "the store")
				r.power.cutBefore = cut
				r.run(1, "restore", "vc", file)
				r.power.cutBefore = 0
				r.run(0, "restore", "vc", file)
				if !slices.Contains(r.read, "the store") {
					t.Errorf("the pod has read %v", r.read)
				}
				if before == "paused" {
					if s := r.get(); *s.Spec.Replicas != 0 || len(s.Annotations) != 2 {
						t.Errorf("the StatefulSet has %d replicas and the annotations %v", *s.Spec.Replicas, s.Annotations)
					}
					r.run(0, "resume", "vc")
				}
				r.isAsBefore()
			})
		}
	}
	t.Run("a stream that was cut off", func(t *testing.T) {
		r := newRestorer(t)
		file, feed, broken := write(t, r.dir+"/snapshot", "the store"), r.app.feed, errors.New("connection reset")
		r.app.feed = func(ctx context.Context, h *host.Host, pod *corev1.Pod, _ io.Reader) error {
			r.refuses = "error: the snapshot is cut short\n"
			return errors.Join(feed(ctx, h, pod, strings.NewReader("the st")), broken)
		}
		r.run(1, "restore", "vc", file)
		r.says("the snapshot is cut short")
		r.refuses, r.app.feed = "", feed
		r.run(0, "restore", "vc", file)
		r.isAsBefore()
	})
}
