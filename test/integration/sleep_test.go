// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/rewrite/marks"
	"portico.dev/portico/test/embedded"
)

// Without the workload of the chart there is nothing to scale, and the start
// says so.
func TestSleepWithoutAWorkload(t *testing.T) {
	h := embedded.SharedHost(t)
	ns, err := h.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "vc-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, errOut, code := porticod(t, "serve", "--name", "c1", "--host-kubeconfig", h.KubeconfigPath(), "--host-namespace", ns.Name, "--data-dir", t.TempDir(),
		"--listen", "127.0.0.1:0", "--sleep-after-inactivity", "5m", "--coredns-enabled", "false")
	if code == 0 || !strings.Contains(errOut, "sleep: get StatefulSet") || !strings.Contains(errOut, "\nhint: porticod has to be a pod of the workload") {
		t.Errorf("code %d:\n%s", code, errOut)
	}
}

// A cluster notes its users, goes to sleep when it is asked to, with its workload
// scaled to 0 and the marks on it, and takes them off when it is there again.
func TestSleep(t *testing.T) {
	h, ctx := embedded.SharedHost(t), t.Context()
	ns, err := h.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "vc-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	sets, labels := h.Client.AppsV1().StatefulSets(ns.Name), map[string]string{"app": "porticod"}
	one := int32(1)
	if _, err := sets.Create(ctx, &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "c1", Labels: map[string]string{rewrite.LabelCluster: "c1"}, Annotations: map[string]string{
			// Somebody has scaled it up by hand.
			marks.AnnotationSleeping: "2030-01-01T00:00:00Z", marks.AnnotationWakeAt: "2030-01-01T01:00:00Z",
		}},
		Spec: appsv1.StatefulSetSpec{Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: embedded.Pod("", nil).Spec}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	workload := func(what string, good func(*appsv1.StatefulSet) bool) *appsv1.StatefulSet {
		t.Helper()
		var w *appsv1.StatefulSet
		embedded.Eventually(t, what, func(ctx context.Context) (bool, string) {
			if w, err = sets.Get(ctx, "c1", metav1.GetOptions{}); err != nil {
				return false, err.Error()
			}
			return good(w), fmt.Sprint(*w.Spec.Replicas, w.Annotations)
		})
		return w
	}
	c := &cluster{embedded.NewClusterIn(t, h, ns.Name, t.TempDir(), "sleep: {afterInactivity: 1h}\ncoredns: {enabled: false}\n")}
	workload("no marks of sleep", func(w *appsv1.StatefulSet) bool {
		return w.Annotations[marks.AnnotationSleeping] == "" && w.Annotations[marks.AnnotationWakeAt] == ""
	})
	// A pod of the tenant has a token that will be due.
	c.CreatePod("default", embedded.Pod("web", nil))
	c.Settled("default", "web")

	began := time.Now()
	asked := []byte(fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, marks.AnnotationSleepRequested, began.UTC().Format(time.RFC3339)))
	if _, err := sets.Patch(ctx, "c1", types.MergePatchType, asked, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	w := workload("sleep", func(w *appsv1.StatefulSet) bool { return *w.Spec.Replicas == 0 })
	rest := marks.RestOf(w.Annotations, *w.Spec.Replicas)
	if rest.Sleeping.IsZero() || w.Annotations[marks.AnnotationReplicas] != "1" || w.Annotations[marks.AnnotationSleepRequested] != "" {
		t.Errorf("annotations of one that sleeps: %v", w.Annotations)
	}
	if until := rest.WakeAt.Sub(rest.Sleeping); until < 40*time.Minute || until > 48*time.Minute {
		t.Errorf("it wakes after %s, want a little before the token is due: 48 minutes", until)
	}
	if user, at := marks.LastActivity(w.Annotations); user != "portico-admin" || at.Before(began.Add(-time.Minute)) {
		t.Errorf("the last activity is of %q, at %s", user, at)
	}
	pod, err := h.Client.CoreV1().Pods(ns.Name).Get(ctx, c.HostName("default", "web"), metav1.GetOptions{})
	if err != nil || pod.DeletionTimestamp != nil {
		t.Errorf("the tenant's pod on the host: %v", err)
	}
}
