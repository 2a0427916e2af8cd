// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package pause_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/harness"
	"portico.dev/portico/sync/pause"
)

const ns = harness.HostNamespace

func cluster(host *fake.Clientset) pause.Cluster {
	return pause.Cluster{Host: host, Namespace: ns, Name: harness.Cluster}
}

func anchor() *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: rewrite.AnchorName(harness.Cluster), UID: "anchor"}}
}

func statefulSet(replicas int32) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: harness.Cluster, Labels: map[string]string{rewrite.LabelCluster: harness.Cluster}},
		Spec:       appsv1.StatefulSetSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "porticod"}}},
	}
}

// hostPod returns the host pod of a running virtual one.
func hostPod(t *testing.T, name string, change func(*corev1.Pod)) *corev1.Pod {
	t.Helper()
	v := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
	if change != nil {
		change(v)
	}
	h, err := harness.Translator(t).PodToHost(v, rewrite.Inputs{})
	if err != nil {
		t.Fatal(err)
	}
	h.UID, h.Spec.NodeName = types.UID("uid of "+name), "node1"
	h.Status.Phase = corev1.PodRunning
	return h
}

func controlledBy(apiVersion, kind string) func(*corev1.Pod) {
	yes := true
	return func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: "owner", UID: "owner", Controller: &yes}}
	}
}

func names(t *testing.T, host *fake.Clientset) (pods, secrets []string) {
	t.Helper()
	ps, err := host.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ps.Items {
		pods = append(pods, p.Annotations[rewrite.AnnotationName])
	}
	ss, err := host.CoreV1().Secrets(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range ss.Items {
		secrets = append(secrets, s.Name)
	}
	slices.Sort(pods)
	return pods, secrets
}

func replicas(t *testing.T, host *fake.Clientset) (n int32, annotations map[string]string) {
	t.Helper()
	s, err := host.AppsV1().StatefulSets(ns).Get(t.Context(), harness.Cluster, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return *s.Spec.Replicas, s.Annotations
}

func TestPauseAndResume(t *testing.T) {
	ended := hostPod(t, "ended", nil)
	ended.Status.Phase = corev1.PodSucceeded
	objects := []runtime.Object{
		anchor(), statefulSet(3), ended,
		hostPod(t, "bare", func(p *corev1.Pod) { p.Finalizers = []string{"example.com/held"} }),
		hostPod(t, "web", controlledBy("apps/v1", "ReplicaSet")),
		hostPod(t, "batch", controlledBy("batch/v1", "Job")),
		hostPod(t, "task", controlledBy("tekton.dev/v1", "TaskRun")),
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "neighbour", UID: "n", Annotations: map[string]string{rewrite.AnnotationName: "neighbour"},
			Labels: map[string]string{rewrite.LabelCluster: "other", rewrite.LabelNamespace: "default"}}},
	}
	host := fake.NewClientset(objects...)
	c := cluster(host)
	before, err := host.CoreV1().Pods(ns).Get(t.Context(), harness.Translator(t).Name("default", "bare"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}

	for range 2 { // the second call finds nothing to do
		if err := c.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		pods, secrets := names(t, host)
		if want := []string{"ended", "neighbour"}; !slices.Equal(pods, want) {
			t.Errorf("pods while paused: %v, want %v", pods, want)
		}
		if len(secrets) != 2 {
			t.Errorf("records %v, want those of the bare pod and of the task", secrets)
		}
		if n, a := replicas(t, host); n != 0 || a[pause.AnnotationPaused] != "true" || a[pause.AnnotationReplicas] != "3" {
			t.Errorf("paused with %d replicas and annotations %v", n, a)
		}
	}

	for range 2 {
		if err := c.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		pods, secrets := names(t, host)
		if want := []string{"bare", "ended", "neighbour", "task"}; !slices.Equal(pods, want) {
			t.Errorf("pods when resumed: %v, want %v; controllers inside make the others", pods, want)
		}
		if len(secrets) != 0 {
			t.Errorf("records %v are left", secrets)
		}
		if n, a := replicas(t, host); n != 3 || len(a) != 0 {
			t.Errorf("resumed with %d replicas and annotations %v", n, a)
		}
	}
	after, err := host.CoreV1().Pods(ns).Get(t.Context(), before.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	before.UID, before.Spec.NodeName, before.Status, before.OwnerReferences = "", "", corev1.PodStatus{}, after.OwnerReferences
	after.TypeMeta = before.TypeMeta
	before.ResourceVersion, before.ManagedFields, after.ResourceVersion, after.ManagedFields = "", nil, "", nil
	if d := cmp.Diff(before, after); d != "" {
		t.Errorf("the bare pod is not as it was (-before +after):\n%s", d)
	}
	if o := after.OwnerReferences; len(o) != 1 || o[0].UID != "anchor" || o[0].Controller == nil || !*o[0].Controller {
		t.Errorf("owner references %v, want the anchor as controller", o)
	}
}

// A host that fails at one write stands for a process that is killed there: the
// same command finishes the work from wherever it was.
func TestCutOffAnywhere(t *testing.T) {
	for cut := 0; ; cut++ {
		held := hostPod(t, "b", func(p *corev1.Pod) { p.Finalizers = []string{"example.com/held"} })
		host := fake.NewClientset(anchor(), statefulSet(1), hostPod(t, "a", nil), held, hostPod(t, "web", controlledBy("apps/v1", "ReplicaSet")))
		left, broken := cut, errors.New("cut off")
		fail := func(clienttesting.Action) (bool, runtime.Object, error) {
			if left--; left < 0 {
				return true, nil, broken
			}
			return false, nil, nil
		}
		for _, verb := range []string{"create", "update", "patch", "delete"} {
			host.PrependReactor(verb, "*", fail)
		}
		c := cluster(host)
		steps := []func() error{func() error { return c.Pause(t.Context()) }, func() error { return c.Resume(t.Context()) }}
		whole := true
		for i, step := range steps {
			if err := step(); err != nil {
				if !errors.Is(err, broken) {
					t.Fatalf("cut at write %d: %v", cut, err)
				}
				whole, left = false, 1000
				if err := step(); err != nil {
					t.Fatalf("cut at write %d, then again: %v", cut, err)
				}
			}
			pods, secrets := names(t, host)
			if i == 0 && (len(pods) != 0 || len(secrets) != 2) {
				t.Fatalf("cut at write %d: paused with pods %v and records %v", cut, pods, secrets)
			}
			if i == 1 && (!slices.Equal(pods, []string{"a", "b"}) || len(secrets) != 0) {
				t.Fatalf("cut at write %d: resumed with pods %v and records %v", cut, pods, secrets)
			}
		}
		if after, err := host.CoreV1().Pods(ns).Get(t.Context(), held.Name, metav1.GetOptions{}); err != nil || !slices.Equal(after.Finalizers, held.Finalizers) {
			t.Fatalf("cut at write %d: the held pod has the finalizers %v, %v", cut, after.Finalizers, err)
		}
		if n, _ := replicas(t, host); n != 1 {
			t.Fatalf("cut at write %d: %d replicas", cut, n)
		}
		if whole {
			if cut < 8 {
				t.Fatalf("only %d writes were cut", cut)
			}
			return
		}
	}
}

// Pause that is followed by Resume instead of by itself loses nothing either.
func TestResumeAfterHalfAPause(t *testing.T) {
	host := fake.NewClientset(anchor(), statefulSet(1), hostPod(t, "a", nil), hostPod(t, "b", nil))
	deletions := 0
	host.PrependReactor("delete", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		deletions++
		return deletions > 1, nil, errors.New("cut off")
	})
	c := cluster(host)
	if err := c.Pause(t.Context()); err == nil {
		t.Fatal("Pause was not cut off")
	}
	if err := c.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pods, secrets := names(t, host); !slices.Equal(pods, []string{"a", "b"}) || len(secrets) != 0 {
		t.Errorf("pods %v and records %v, want both pods and no record", pods, secrets)
	}
}

// A quota of the host may have been filled while the cluster was paused.
func TestPodThatTheHostRefusesIsKeptForLater(t *testing.T) {
	host := fake.NewClientset(anchor(), statefulSet(1), hostPod(t, "a", nil), hostPod(t, "b", nil))
	c := cluster(host)
	if err := c.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	full := true
	refused := harness.Translator(t).Name("default", "a")
	host.PrependReactor("create", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if full && a.(clienttesting.CreateAction).GetObject().(*corev1.Pod).Name == refused {
			return true, nil, apierrors.NewForbidden(corev1.Resource("pods"), refused, errors.New("exceeded quota"))
		}
		return false, nil, nil
	})
	if err := c.Resume(t.Context()); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), refused) {
		t.Fatalf("Resume: %v, want the host's refusal with the pod's name", err)
	}
	if n, _ := replicas(t, host); n != 1 {
		t.Errorf("%d replicas; one refused pod keeps the cluster from starting", n)
	}
	full = false
	if err := c.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pods, secrets := names(t, host); !slices.Equal(pods, []string{"a", "b"}) || len(secrets) != 0 {
		t.Errorf("pods %v and records %v, want both pods and no record", pods, secrets)
	}
}

func TestNodeOfAPodThatIsMadeAgain(t *testing.T) {
	for name, test := range map[string]struct {
		fields string
		want   string
	}{
		"chosen by a scheduler": {`{"f:spec":{"f:containers":{}}}`, ""},
		"chosen by the author":  {`{"f:spec":{"f:containers":{},"f:nodeName":{}}}`, "node1"},
		"fields cannot be read": {`{`, ""},
		"no fields of the spec": {`{"f:metadata":{}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			pod := hostPod(t, "a", nil)
			pod.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "portico", Operation: "Update", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(test.fields)}}
			host := fake.NewClientset(anchor(), statefulSet(1), pod)
			// The tracker keeps fields of its own.
			host.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
				if _, err := host.Tracker().Get(corev1.SchemeGroupVersion.WithResource("pods"), ns, pod.Name); err != nil {
					return true, &corev1.PodList{}, nil
				}
				return true, &corev1.PodList{Items: []corev1.Pod{*pod}}, nil
			})
			host.PrependReactor("list", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
				if strings.Contains(a.(clienttesting.ListAction).GetListRestrictions().Labels.String(), "porticod") {
					return true, &corev1.PodList{}, nil
				}
				return false, nil, nil
			})
			c := cluster(host)
			if err := c.Pause(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := c.Resume(t.Context()); err != nil {
				t.Fatal(err)
			}
			got, err := host.CoreV1().Pods(ns).Get(t.Context(), pod.Name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got.Spec.NodeName != test.want {
				t.Errorf("node %q, want %q", got.Spec.NodeName, test.want)
			}
		})
	}
}

func TestClusterWithoutWorkload(t *testing.T) {
	c := cluster(fake.NewClientset(anchor()))
	for name, err := range map[string]error{"Pause": c.Pause(t.Context()), "Resume": c.Resume(t.Context())} {
		if !errors.Is(err, pause.ErrNoWorkload) {
			t.Errorf("%s: %v, want ErrNoWorkload", name, err)
		}
	}
}

// A container that ends well at a signal leaves a pod that has ended, and that
// is on the host for a moment more. One that a tenant holds stays.
func TestPauseWaitsForPodsThatEndWell(t *testing.T) {
	now := metav1.Now()
	last, held := hostPod(t, "last", nil), hostPod(t, "held", func(p *corev1.Pod) { p.Finalizers = []string{"example.com/held"} })
	for _, p := range []*corev1.Pod{last, held} {
		p.DeletionTimestamp, p.Status.Phase = &now, corev1.PodSucceeded
	}
	host := fake.NewClientset(anchor(), statefulSet(1), last, held)
	looks := 0
	host.PrependReactor("list", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if !strings.Contains(a.(clienttesting.ListAction).GetListRestrictions().Labels.String(), rewrite.LabelNamespace) {
			return false, nil, nil
		}
		if looks++; looks == 3 {
			if err := host.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("pods"), ns, last.Name); err != nil {
				t.Error(err)
			}
		}
		return false, nil, nil
	})
	if err := cluster(host).Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pods, _ := names(t, host); looks != 3 || !slices.Equal(pods, []string{"held"}) {
		t.Errorf("pods %v after %d looks, want the held one after three", pods, looks)
	}
}

// Pods that are to stay do, and no record is made of them.
func TestLeaveAndReturn(t *testing.T) {
	host := fake.NewClientset(anchor(), hostPod(t, "bare", nil), hostPod(t, "db", nil), hostPod(t, "web", controlledBy("apps/v1", "ReplicaSet")))
	c := cluster(host)
	c.Stays = func(p *corev1.Pod) bool { return p.Annotations[rewrite.AnnotationName] == "db" }
	for range 2 {
		if err := c.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if pods, secrets := names(t, host); !slices.Equal(pods, []string{"db"}) || len(secrets) != 1 {
			t.Errorf("in the sleep: pods %v, records %v", pods, secrets)
		}
	}
	for range 2 {
		if err := c.Return(t.Context()); err != nil {
			t.Fatal(err)
		}
		if pods, secrets := names(t, host); !slices.Equal(pods, []string{"bare", "db"}) || len(secrets) != 0 {
			t.Errorf("after it: pods %v, records %v", pods, secrets)
		}
	}
}
