// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	sets := h.Client.AppsV1().StatefulSets(ns.Name)
	workload := newWorkload(t, h, ns.Name, map[string]string{
		// Somebody has scaled it up by hand.
		marks.AnnotationSleeping: "2030-01-01T00:00:00Z", marks.AnnotationWakeAt: "2030-01-01T01:00:00Z",
	})
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

// newWorkload makes the workload of the chart, as far as a cluster needs one that
// sleeps. The result waits for a state of it.
func newWorkload(t *testing.T, h *embedded.Host, namespace string, annotations map[string]string) func(what string, good func(*appsv1.StatefulSet) bool) *appsv1.StatefulSet {
	t.Helper()
	sets, labels, one := h.Client.AppsV1().StatefulSets(namespace), map[string]string{"app": "porticod"}, int32(1)
	if _, err := sets.Create(t.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "c1", Labels: map[string]string{rewrite.LabelCluster: "c1"}, Annotations: annotations},
		Spec: appsv1.StatefulSetSpec{Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: embedded.Pod("", nil).Spec}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return func(what string, good func(*appsv1.StatefulSet) bool) *appsv1.StatefulSet {
		t.Helper()
		var w *appsv1.StatefulSet
		embedded.Eventually(t, what, func(ctx context.Context) (bool, string) {
			var err error
			if w, err = sets.Get(ctx, "c1", metav1.GetOptions{}); err != nil {
				return false, err.Error()
			}
			return good(w), fmt.Sprint(*w.Spec.Replicas, w.Annotations)
		})
		return w
	}
}

// In a sleep of workloads the pods leave the host, but for one that is to stay.
// porticod is killed while they end and while they come back, and the next one
// goes on: a pod that no controller makes again is there under its name.
func TestSleepOfWorkloads(t *testing.T) {
	h, ctx := embedded.SharedHost(t), t.Context()
	ns, err := h.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "vc-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	sets, hostPods := h.Client.AppsV1().StatefulSets(ns.Name), h.Client.CoreV1().Pods(ns.Name)
	workload := newWorkload(t, h, ns.Name, nil)
	c := &cluster{embedded.NewClusterIn(t, h, ns.Name, t.TempDir(),
		"sleep: {afterInactivity: 1h, scope: workloads, exclude: {selector: {matchLabels: {app: db}}}}\ncoredns: {enabled: false}\n")}
	c.CreatePod("default", embedded.Pod("bare", nil))
	c.CreatePod("default", embedded.Pod("db", map[string]string{"app": "db"}))
	c.Settled("default", "bare")
	c.Settled("default", "db")
	bare, db := c.HostName("default", "bare"), c.HostName("default", "db")
	const hold = `{"metadata":{"finalizers":["example.com/held"]}}`
	const loose = `{"metadata":{"finalizers":null}}`
	patch := func(pod, body string) {
		t.Helper()
		if _, err := hostPods.Patch(ctx, pod, types.MergePatchType, []byte(body), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	raw := func(name string) {
		t.Helper()
		if c.Process, err = embedded.Start(c.Dir, name, nil, "serve", "--config", c.ConfigPath()); err != nil {
			t.Fatal(err)
		}
	}
	says := func(text string) {
		t.Helper()
		embedded.Eventually(t, text, func(context.Context) (bool, string) { return c.Process.Said(text), c.Process.Tail() })
	}

	// The host keeps the pod for a while, and porticod is killed meanwhile.
	patch(bare, hold)
	asked := []byte(fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, marks.AnnotationSleepRequested, time.Now().UTC().Format(time.RFC3339)))
	if _, err := sets.Patch(ctx, "c1", types.MergePatchType, asked, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "the pod to end", func(ctx context.Context) (bool, string) {
		p, err := hostPods.Get(ctx, bare, metav1.GetOptions{})
		return err == nil && p.DeletionTimestamp != nil, fmt.Sprint(err)
	})
	w := workload("the way to a sleep", func(w *appsv1.StatefulSet) bool { return marks.RestOf(w.Annotations, *w.Spec.Replicas).Leaving })
	if *w.Spec.Replicas != 1 {
		t.Errorf("scaled to %d before the pods are gone", *w.Spec.Replicas)
	}
	c.Kill()
	raw("leaves")
	says("Takes pods off the host")
	patch(bare, loose)
	w = workload("a sleep", func(w *appsv1.StatefulSet) bool { return *w.Spec.Replicas == 0 })
	if _, err := hostPods.Get(ctx, bare, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the pod in the sleep: %v", err)
	}
	if p, err := hostPods.Get(ctx, db, metav1.GetOptions{}); err != nil || p.DeletionTimestamp != nil {
		t.Errorf("the pod that stays: %v", err)
	}
	if err := c.Process.End(syscall.SIGTERM); err != nil {
		t.Errorf("porticod at the end of the way: %v\n%s", err, c.Process.Tail())
	}

	// The pod's name is taken for a while, and porticod is killed meanwhile.
	body, err := marks.WakePatch(w.ResourceVersion, w.Annotations, time.Now(), marks.WokenByConnection)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sets.Patch(ctx, "c1", types.MergePatchType, body, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	other := embedded.Pod(bare, nil)
	other.Finalizers = []string{"example.com/held"}
	if _, err := hostPods.Create(ctx, other, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := hostPods.Delete(ctx, bare, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	raw("returns")
	says("Brings pods back")
	c.Kill()
	patch(bare, loose)
	c.Start()
	c.Settled("default", "bare")
	c.Settled("default", "db")
	workload("no marks of sleep", func(w *appsv1.StatefulSet) bool {
		return *w.Spec.Replicas == 1 && w.Annotations[marks.AnnotationSleeping] == "" && w.Annotations[marks.AnnotationWorkloads] == ""
	})
	secrets, err := h.Client.CoreV1().Secrets(ns.Name).List(ctx, metav1.ListOptions{LabelSelector: rewrite.LabelComposed + "=paused"})
	if err != nil || len(secrets.Items) != 0 {
		t.Errorf("records that are left: %d, %v", len(secrets.Items), err)
	}
}
