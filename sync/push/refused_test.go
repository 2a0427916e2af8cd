// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package push_test

import (
	"context"
	"fmt"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"

	"portico.dev/portico/rewrite"
)

// copies returns how many Secrets and ConfigMaps the host has.
func (h *harness) copies() int {
	h.t.Helper()
	secrets, err := h.host.CoreV1().Secrets(hostNamespace).List(h.t.Context(), metav1.ListOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	configMaps, err := h.host.CoreV1().ConfigMaps(hostNamespace).List(h.t.Context(), metav1.ListOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	return len(secrets.Items) + len(configMaps.Items)
}

// begin is Ensure for a pod that is to be settled.
func (h *harness) begin(namespace string) (settle func(refused bool)) {
	h.t.Helper()
	settle, err := h.controller.Ensure(h.t.Context(), namespace, refs())
	if err != nil {
		h.t.Fatal(err)
	}
	return settle
}

// seen returns when the view has all copies of a pod of the default namespace, so
// that another pod costs the host no question.
func (h *harness) seen() {
	h.t.Helper()
	err := wait.PollUntilContextTimeout(h.t.Context(), 5*time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		h.host.ClearActions()
		h.begin("default")(true)
		return len(h.host.Actions()) == 0, nil
	})
	if err != nil {
		h.t.Fatalf("Ensure still calls the host: %v", h.host.Actions())
	}
}

// A tenant posts pods that the host refuses, each with Secrets of its own, to
// fill the host's namespace.
func TestAttackRefusedPodsFillTheHost(t *testing.T) {
	var objects []runtime.Object
	for i := range 20 {
		ns := fmt.Sprintf("ns-%d", i)
		objects = append(objects, secret(ns, "creds", "big"), configMap(ns, "settings", "big"))
	}
	h := newHarness(t, objects, nil)
	for i := range 20 {
		settle := h.begin(fmt.Sprintf("ns-%d", i))
		if n := h.copies(); n != 2 {
			t.Fatalf("%d copies while the pod is on its way, want those of this one", n)
		}
		settle(true)
		if n := h.copies(); n != 0 {
			t.Fatalf("%d copies are on the host after the refusal of pod %d", n, i)
		}
	}
}

// A tenant creates the Secret while its pod is on its way, so that the worker
// brings it to the host, and the host refuses the pod.
func TestAttackSecretComesBeforeTheRefusal(t *testing.T) {
	h := newHarness(t, nil, nil)
	settle := h.begin("default")
	if _, err := h.virtual.CoreV1().Secrets("default").Create(t.Context(), secret("default", "creds", "big"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.eventually("Secret", "default", "creds", "big", 0)
	h.begin("default")(true) // waits for the worker, which may not have noted the copy yet that it made
	settle(true)
	if n := h.copies(); n != 0 {
		t.Errorf("%d copies are on the host after the refusal", n)
	}
}

// The removal is decided without the view, which is behind at first.
func TestRefusedThenTaken(t *testing.T) {
	h := newHarness(t, []runtime.Object{secret("default", "creds", "s1"), configMap("default", "settings", "c1")}, nil)
	h.begin("default")(true)
	h.begin("default")(false)
	h.createPod(pod("default", "p"))
	h.eventually("Secret", "default", "creds", "s1", 0)
	h.begin("default")(true) // a sibling with the same Secret
	h.settled()
	if got := h.value("Secret", "default", "creds"); got != "s1" {
		t.Error("the refusal of one pod took the copy of another")
	}
}

// The view has a copy, the copy goes with a refused pod, and the next pod comes
// before the view knows: it must not start without its Secret. The watch of
// this test never reports the removal.
func TestRemovedCopyIsMadeAgainForTheNextPod(t *testing.T) {
	changes := watch.NewFake()
	h := newHarness(t, []runtime.Object{secret("default", "creds", "s1"), configMap("default", "settings", "c1")}, nil, func(h *harness) {
		h.host.PrependWatchReactor("secrets", clienttesting.DefaultWatchReactor(changes, nil))
	})
	refused := h.begin("default")
	first, err := h.host.CoreV1().Secrets(hostNamespace).Get(t.Context(), h.translator.Name("default", "creds"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	changes.Add(first)
	h.seen()
	refused(true)
	if got := h.value("Secret", "default", "creds"); got != "" {
		t.Fatalf("the copy of a refused pod still holds %q", got)
	}
	h.begin("default")(false)
	if got := h.value("Secret", "default", "creds"); got != "s1" {
		t.Errorf("the copy holds %q when the next pod comes", got)
	}
}

// Two pods with the same Secret are on their way at once, and one is refused.
func TestRefusedBesideAnother(t *testing.T) {
	for name, test := range map[string]struct {
		refusedFirst, otherRefused bool
		want                       int
	}{
		"refused, then taken":   {true, false, 2},
		"taken, then refused":   {false, true, 2},
		"refused, then refused": {true, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, []runtime.Object{secret("default", "creds", "s1"), configMap("default", "settings", "c1")}, nil)
			one, other := h.begin("default"), h.begin("default")
			one(test.refusedFirst)
			if n := h.copies(); n != 2 {
				t.Errorf("%d copies while the other pod is on its way", n)
			}
			other(test.otherRefused)
			if n := h.copies(); n != test.want {
				t.Errorf("%d copies in the end, want %d", n, test.want)
			}
		})
	}
}

// A Secret that a running pod names is not removed, also if its copy was
// missing when the refused pod came.
func TestRefusedKeepsWhatAPodUses(t *testing.T) {
	h := newHarness(t, []runtime.Object{secret("default", "creds", "s1"), configMap("default", "settings", "c1"), pod("default", "p")}, nil)
	h.eventually("Secret", "default", "creds", "s1", 0)
	if err := h.host.CoreV1().Secrets(hostNamespace).Delete(t.Context(), h.translator.Name("default", "creds"), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.begin("default")(true)
	h.eventually("Secret", "default", "creds", "s1", 0)
}

// The host takes one Secret and refuses the next, so that there will be no pod.
func TestAttackHalfPushedPodLeavesNothing(t *testing.T) {
	h := newHarness(t, []runtime.Object{secret("default", "creds", "s1"), configMap("default", "settings", "c1")}, nil, func(h *harness) {
		h.host.PrependReactor("create", "configmaps", func(a clienttesting.Action) (bool, runtime.Object, error) {
			name := a.(clienttesting.CreateAction).GetObject().(*corev1.ConfigMap).Name
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, name, quotaError(name))
		})
	})
	if _, err := h.controller.Ensure(t.Context(), "default", refs()); !apierrors.IsForbidden(err) {
		t.Fatalf("got %v, want the host's refusal", err)
	}
	if n := h.copies(); n != 0 {
		t.Errorf("%d copies are on the host for a pod that cannot come", n)
	}
}

// A removal that the host does not do is done later, by the leader's loop.
func TestRefusedIsRemovedLater(t *testing.T) {
	var once sync.Once
	h := newHarness(t, []runtime.Object{secret("default", "creds", "s1"), configMap("default", "settings", "c1")}, nil, func(h *harness) {
		h.host.PrependReactor("delete", "secrets", func(clienttesting.Action) (handled bool, _ runtime.Object, err error) {
			once.Do(func() { handled, err = true, apierrors.NewServiceUnavailable("away") })
			return handled, nil, err
		})
	})
	h.begin("default")(true)
	if got := h.value("Secret", "default", "creds"); got != "s1" {
		t.Fatal("the test has not kept the host from removing the copy")
	}
	h.eventually("Secret", "default", "creds", "", 10*time.Second)
}

// A pod can name thousands of objects: they come a few at a time.
func TestAttackPodNamesThousands(t *testing.T) {
	var most atomic.Int64
	h := newHarness(t, nil, nil, func(h *harness) {
		h.virtual.PrependReactor("get", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
			most.Store(max(most.Load(), int64(goruntime.NumGoroutine()))) // One call at a time gets here.
			return false, nil, nil
		})
	})
	var all []rewrite.Reference
	for i := range 1000 {
		all = append(all, rewrite.Reference{Kind: "Secret", Name: fmt.Sprintf("s-%d", i)})
	}
	before := int64(goruntime.NumGoroutine())
	settle, err := h.controller.Ensure(t.Context(), "default", all)
	if err != nil {
		t.Fatal(err)
	}
	settle(true)
	if n := most.Load() - before; n > 100 {
		t.Errorf("%d goroutines more for one pod", n)
	}
}
