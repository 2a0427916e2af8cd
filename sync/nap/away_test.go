// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nap

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	testingclock "k8s.io/utils/clock/testing"

	"portico.dev/portico/rewrite/marks"
)

// pods are those of a cluster, which note what is done to them.
type pods struct {
	done  chan string
	leave func(context.Context) error
	err   error
}

func (p *pods) Leave(ctx context.Context) error {
	p.done <- "leave"
	if p.leave != nil {
		return p.leave(ctx)
	}
	return p.err
}

func (p *pods) Return(context.Context) error { p.done <- "return"; return p.err }

func newPods() *pods { return &pods{done: make(chan string, 10)} }

func (p *pods) list() (all []string) {
	for len(p.done) > 0 {
		all = append(all, <-p.done)
	}
	return all
}

// leaves are the marks of a cluster whose pods leave the host.
func leaves() map[string]string {
	return map[string]string{
		marks.AnnotationSleeping: start.Format(time.RFC3339), marks.AnnotationReplicas: "1", marks.AnnotationWorkloads: marks.WorkloadsLeave,
	}
}

func without(m map[string]string, key string) map[string]string { delete(m, key); return m }

func with(m map[string]string, key, value string) map[string]string { m[key] = value; return m }

// endsWhen ends a context when the workload has been scaled to 0, as the host ends
// the process then.
func endsWhen(t *testing.T, host *fake.Clientset) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	host.PrependReactor("get", "statefulsets", func(clienttesting.Action) (bool, runtime.Object, error) {
		obj, err := host.Tracker().Get(appsv1.SchemeGroupVersion.WithResource("statefulsets"), "team-a", "shop")
		if s, ok := obj.(*appsv1.StatefulSet); err == nil && ok && *s.Spec.Replicas == 0 {
			cancel()
		}
		return false, nil, nil
	})
	return ctx
}

func TestArrive(t *testing.T) {
	failed := errors.New("refused")
	for name, c := range map[string]struct {
		annotations map[string]string
		replicas    int32
		err         error
		awake       bool
		done        []string
		left        string // the mark afterwards
	}{
		"nothing was away":                {map[string]string{}, 1, nil, true, nil, ""},
		"woken":                           {without(with(leaves(), marks.AnnotationWorkloads, marks.WorkloadsAway), marks.AnnotationSleeping), 1, nil, true, []string{"return"}, ""},
		"scaled up by hand":               {with(leaves(), marks.AnnotationWorkloads, marks.WorkloadsAway), 1, nil, true, []string{"return"}, ""},
		"woken before the pods were gone": {without(leaves(), marks.AnnotationSleeping), 1, nil, true, []string{"return"}, ""},
		"the host refuses a pod":          {without(leaves(), marks.AnnotationSleeping), 1, failed, true, []string{"return"}, marks.WorkloadsLeave},
		"killed on its way to a sleep":    {leaves(), 1, nil, false, []string{"leave"}, marks.WorkloadsAway},
		"paused on its way to a sleep":    {with(without(leaves(), marks.AnnotationSleeping), marks.AnnotationPaused, "true"), 0, nil, false, nil, marks.WorkloadsLeave},
		"killed at its end":               {with(leaves(), marks.AnnotationWorkloads, marks.WorkloadsAway), 0, nil, false, nil, marks.WorkloadsAway},
	} {
		t.Run(name, func(t *testing.T) {
			host, p := fake.NewClientset(home(c.annotations, c.replicas)), newPods()
			p.err = c.err
			ctx := endsWhen(t, host)
			awake, err := Away{Workload: Workload{Host: host, Namespace: "team-a", Name: "shop"}, Pods: p}.Arrive(ctx)
			if awake != c.awake || err != nil {
				t.Errorf("awake %t, error %v", awake, err)
			}
			if got := p.list(); !slices.Equal(got, c.done) {
				t.Errorf("done: %v, want %v", got, c.done)
			}
			w, err := host.AppsV1().StatefulSets("team-a").Get(t.Context(), "shop", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := w.Annotations[marks.AnnotationWorkloads]; got != c.left {
				t.Errorf("the mark is %q, want %q", got, c.left)
			}
			if !c.awake && *w.Spec.Replicas != 0 {
				t.Errorf("%d replicas", *w.Spec.Replicas)
			}
		})
	}
}

// A cluster is woken while its pods end: that is noticed before the last one has.
func TestWokenWhilePodsLeave(t *testing.T) {
	host, p, clock := fake.NewClientset(home(leaves(), 1)), newPods(), testingclock.NewFakeClock(start)
	p.leave = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	ended := make(chan error, 1)
	go func() {
		ended <- Away{Workload: Workload{Host: host, Namespace: "team-a", Name: "shop"}, Pods: p, Clock: clock}.Leave(t.Context())
	}()
	<-p.done
	body, err := marks.WakePatch("", leaves(), start, marks.WokenByConnection)
	if err != nil {
		t.Fatal(err)
	}
	w, err := host.AppsV1().StatefulSets("team-a").Patch(t.Context(), "shop", types.MergePatchType, body, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case err := <-ended:
			if !errors.Is(err, ErrWoken) {
				t.Errorf("ended with %v", err)
			}
			if rest := marks.RestOf(w.Annotations, *w.Spec.Replicas); rest.Leaving || !rest.Sleeping.IsZero() || *w.Spec.Replicas != 1 {
				t.Errorf("woken with %v", w.Annotations)
			}
			return
		default:
			clock.Step(glance)
		}
	}
}

// TestAttackPauseWhilePodsLeave: the scaling is for the workload whose marks were
// read, so that a pause of the same moment stays one.
func TestAttackPauseWhilePodsLeave(t *testing.T) {
	host, p := fake.NewClientset(home(leaves(), 1)), newPods()
	resource := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}
	host.PrependReactor("patch", "statefulsets", func(clienttesting.Action) (bool, runtime.Object, error) {
		paused := home(with(without(leaves(), marks.AnnotationSleeping), marks.AnnotationPaused, "true"), 0)
		if err := host.Tracker().Update(resource, paused, "team-a"); err != nil {
			t.Error(err)
		}
		return true, nil, apierrors.NewConflict(resource.GroupResource(), "shop", nil)
	})
	a := Away{Workload: Workload{Host: host, Namespace: "team-a", Name: "shop"}, Pods: p}
	if err := a.Leave(endsWhen(t, host)); err != nil {
		t.Error(err)
	}
	w, err := host.AppsV1().StatefulSets("team-a").Get(t.Context(), "shop", metav1.GetOptions{})
	if err != nil || !marks.RestOf(w.Annotations, *w.Spec.Replicas).Paused {
		t.Errorf("%v, %v", w, err)
	}
}

// The sleeper says why it ends, and does not end one of two replicas.
func TestSleeperWithPods(t *testing.T) {
	for name, c := range map[string]struct {
		annotations map[string]string
		replicas    int32
		leaves      bool
	}{
		"nobody uses it":          {nil, 1, true},
		"another process decided": {leaves(), 1, true},
		"two replicas":            {nil, 2, false},
	} {
		f := newFixture(t, home(c.annotations, c.replicas))
		f.WithPods = true
		w, err := f.Workload.get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := f.look(t.Context(), w); errors.Is(err, ErrLeaves) != c.leaves {
			t.Errorf("%s: %v", name, err)
		}
		got := f.workload(t)
		if rest := marks.RestOf(got.Annotations, *got.Spec.Replicas); rest.Leaving != c.leaves || *got.Spec.Replicas != c.replicas {
			t.Errorf("%s: replicas %d, %v", name, *got.Spec.Replicas, got.Annotations)
		}
	}
}
