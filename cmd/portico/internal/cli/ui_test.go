// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/measure"
	"portico.dev/portico/cmd/portico/internal/ui"
)

var vc = ui.ID{Namespace: "portico-vc", Name: "vc"}

// replica is a pod of the control plane of vc that serves measurements.
func replica(ready corev1.ConditionStatus) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: vc.Namespace, Name: "vc-0", Labels: map[string]string{"portico.dev/door": "vc"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "porticod", Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: 9402}}}}},
		Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}},
	}
}

// uiSource is the source of portico ui, with a host that measures.
func (b *bench) uiSource() *uiSource {
	b.t.Helper()
	b.reset()
	b.app.host.Kubeconfig = b.file.Path
	h, err := b.app.open(host.Options{}, "")
	if err != nil {
		b.t.Fatal(err)
	}
	s, err := b.app.newUISource(h)
	if err != nil {
		b.t.Fatal(err)
	}
	s.usage = func(context.Context, string) (map[types.NamespacedName]measure.Usage, error) {
		return map[types.NamespacedName]measure.Usage{{Namespace: vc.Namespace, Name: "vc-0"}: {CPU: 7, Memory: 90}}, nil
	}
	s.store = func(context.Context, string, string, int) (measure.Store, error) {
		return measure.Store{Used: 5, Limit: 10}, nil
	}
	return s
}

func TestUIShowsClusters(t *testing.T) {
	b := newBench(t, replica(corev1.ConditionTrue))
	b.run(0, "create", "vc", "--connect=false")
	s := b.uiSource()
	asked := 0
	s.store = func(_ context.Context, namespace, name string, port int) (measure.Store, error) {
		if namespace != vc.Namespace || name != vc.Name || port != 9402 {
			t.Errorf("asked %s/%s at %d", namespace, name, port)
		}
		asked++
		return measure.Store{Used: 5, Limit: 10}, nil
	}
	fleet, err := s.Clusters(t.Context())
	if err != nil || len(fleet.Clusters) != 1 || len(fleet.Missing) != 0 || fleet.Host != "host" {
		t.Fatalf("%+v (%v)", fleet, err)
	}
	one, err := s.Cluster(t.Context(), vc)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []ui.Cluster{fleet.Clusters[0], *one} {
		if c.ID != vc || c.State != "Running" || c.Version != "dev" || *c.Pods != 0 || *c.CPU != 7 || *c.Memory != 90 || *c.Store != 5 || *c.StoreLimit != 10 {
			t.Errorf("shown is %+v", c)
		}
	}
	if asked != 1 {
		t.Errorf("porticod was asked %d times within a moment", asked)
	}
	if len(one.ControlPlane) != 1 || one.ControlPlane[0].Name != "vc-0" {
		t.Errorf("control plane %+v", one.ControlPlane)
	}
	for _, id := range []ui.ID{{Namespace: vc.Namespace, Name: "other"}, {Namespace: vc.Namespace, Name: "../x"}} {
		if _, err := s.Cluster(t.Context(), id); !errors.Is(err, ui.ErrUnknown) {
			t.Errorf("%v: %v", id, err)
		}
	}
	s.namespace = "elsewhere"
	if _, err := s.Cluster(t.Context(), vc); !errors.Is(err, ui.ErrUnknown) {
		t.Errorf("of another namespace: %v", err)
	}
}

func TestUISaysWhatItMayNotSee(t *testing.T) {
	b := newBench(t, replica(corev1.ConditionTrue))
	b.run(0, "create", "vc", "--connect=false")
	s := b.uiSource()
	s.usage = func(context.Context, string) (map[types.NamespacedName]measure.Usage, error) {
		return nil, apierrors.NewForbidden(corev1.Resource("pods"), "", errors.New("not you"))
	}
	s.store = func(context.Context, string, string, int) (measure.Store, error) {
		return measure.Store{}, errors.New("no answer")
	}
	fleet, err := s.Clusters(t.Context())
	if err != nil || len(fleet.Missing) != 1 || !strings.Contains(fleet.Missing[0], "CPU and memory are not known") {
		t.Fatalf("%+v (%v)", fleet, err)
	}
	if c := fleet.Clusters[0]; c.CPU != nil || c.Memory != nil || c.Store != nil {
		t.Errorf("shown is %+v", c)
	}
}

// A size that nobody waited for is asked for again: a reload of the page interrupts
// the one before.
func TestUIForgetsInterruptedMeasurements(t *testing.T) {
	b := newBench(t, replica(corev1.ConditionTrue))
	s := b.uiSource()
	s.store = func(ctx context.Context, _, _ string, _ int) (measure.Store, error) {
		return measure.Store{Used: 5}, ctx.Err()
	}
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	for _, ctx := range []context.Context{interrupted, t.Context()} {
		c := ui.Cluster{ID: vc}
		s.addStore(ctx, &c, []corev1.Pod{*replica(corev1.ConditionTrue)})
		if (c.Store == nil) != (ctx == interrupted) {
			t.Errorf("shown is %+v, interrupted %v", c, ctx == interrupted)
		}
	}
}

// A calendar reaches the page of a cluster: it has the button for a sleep then.
func TestUIShowsTheCalendar(t *testing.T) {
	c := viewCluster(&cluster.Cluster{State: cluster.Running, SleepsBy: "from 0 20 * * *, UTC"})
	if c.SleepsBy != "from 0 20 * * *, UTC" || !slices.Contains(c.Actions(), ui.Sleep) {
		t.Errorf("%+v, %v", c, c.Actions())
	}
}

func TestUITellsStartingFromBroken(t *testing.T) {
	starting := func() ui.Cluster { return ui.Cluster{State: "Starting"} }
	waiting := replica(corev1.ConditionFalse)
	waiting.Status.Phase = corev1.PodRunning
	c := starting()
	if judge(&c, []corev1.Pod{*waiting}); c.State != "Starting" || !strings.Contains(c.Reason, "not ready yet") {
		t.Errorf("a pod that starts: %+v", c)
	}
	waiting.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "porticod", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}}}
	c = starting()
	if judge(&c, []corev1.Pod{*waiting}); c.State != "Broken" || !strings.Contains(c.Reason, "ImagePullBackOff") {
		t.Errorf("a pod without an image: %+v", c)
	}
	now := metav1.Now()
	waiting.DeletionTimestamp = &now
	c = starting()
	if judge(&c, []corev1.Pod{*waiting}); c.State != "Starting" {
		t.Errorf("a pod that goes: %+v", c)
	}
}

// TestUIDoesWhatCommandsDo, with their words.
func TestUIDoesWhatCommandsDo(t *testing.T) {
	b := newBench(t)
	b.run(0, "create", "vc", "--connect=false")
	s := b.uiSource()
	do := func(action ui.Action, fails bool, want string) {
		t.Helper()
		var said bytes.Buffer
		if err := s.Do(t.Context(), action, vc, &said); (err != nil) != fails || !strings.Contains(said.String(), want) {
			t.Errorf("%s: %v, it said %q, want %q", action, err, said.String(), want)
		}
	}
	do(ui.Sleep, true, "hint: portico upgrade vc")
	do(ui.Pause, false, "is paused")
	if c, err := s.Cluster(t.Context(), vc); err != nil || c.State != "Paused" {
		t.Errorf("%+v (%v)", c, err)
	}
	do(ui.Wake, true, "is paused")
	do(ui.Resume, false, "serves")
	do(ui.Delete, false, "deleted virtual cluster vc")
	do(ui.Delete, true, "there is no such virtual cluster")
}

// TestUICommand runs the whole command until it is interrupted.
func TestUICommand(t *testing.T) {
	b := newBench(t)
	b.run(0, "create", "vc", "--connect=false")
	b.run(2, "ui", "--port", "70000")
	b.reset()
	r, w := io.Pipe()
	b.app.streams.Out = w
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan int, 1)
	go func() { ended <- b.app.run(ctx, []string{"--kubeconfig", b.file.Path, "ui"}) }()
	link, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	link = strings.TrimSpace(link)
	root, _, _ := strings.Cut(link, "/enter/")
	onward := regexp.MustCompile(`<a href="(/[^"]+)">The virtual clusters`)
	for url, last := link, false; ; last = true {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := (&http.Client{Jar: jar}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s (%v)\n%s", url, answer.Status, err, body)
		}
		if last {
			if !strings.Contains(string(body), "1 virtual cluster<") {
				t.Errorf("shown is\n%s", body)
			}
			break
		}
		next := onward.FindSubmatch(body)
		if next == nil {
			t.Fatalf("the link leads nowhere:\n%s", body)
		}
		url = root + string(next[1])
	}
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d after an interruption", code)
	}
}
