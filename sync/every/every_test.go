// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package every_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/ptr"

	"portico.dev/portico/sync/every"
	"portico.dev/portico/sync/internal/harness"
	"portico.dev/portico/sync/kinds"
)

type fixture struct {
	*harness.Harness
	controller *every.Controller[*policyv1.PodDisruptionBudget]
	events     *record.FakeRecorder
}

// start runs a controller of budgets, with so many copies at most.
func start(t *testing.T, most int, host ...runtime.Object) *fixture {
	t.Helper()
	return startWith(t, func(c *every.Config[*policyv1.PodDisruptionBudget]) { c.Most = most }, host...)
}

func startWith(t *testing.T, change func(*every.Config[*policyv1.PodDisruptionBudget]), host ...runtime.Object) *fixture {
	t.Helper()
	h := prepare(t, change, host...)
	h.Run(h.controller.Run)
	return h
}

// prepare returns a fixture that does not run yet: a fake client takes no
// reactors while it is used.
func prepare(t *testing.T, change func(*every.Config[*policyv1.PodDisruptionBudget]), host ...runtime.Object) *fixture {
	t.Helper()
	h := &fixture{Harness: harness.New(t, nil, host), events: record.NewFakeRecorder(100)}
	cfg := every.Config[*policyv1.PodDisruptionBudget]{
		Row: kinds.PushedPodDisruptionBudgets, Translator: h.Translator, Informers: h.Informers, Host: h.Host,
		Events: h.events, Reason: "NotOnHost", Clock: h.Clock,
	}
	change(&cfg)
	c, err := every.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.controller = c
	return h
}

func budget(name string, least int32) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: ptr.To(intstr.FromInt32(least)), Selector: &metav1.LabelSelector{}},
	}
}

func (h *fixture) create(b *policyv1.PodDisruptionBudget) {
	h.T.Helper()
	if _, err := h.Virtual.PolicyV1().PodDisruptionBudgets(b.Namespace).Create(h.T.Context(), b, metav1.CreateOptions{}); err != nil {
		h.T.Fatal(err)
	}
}

func (h *fixture) delete(name string) {
	h.T.Helper()
	if err := h.Virtual.PolicyV1().PodDisruptionBudgets("shop").Delete(h.T.Context(), name, metav1.DeleteOptions{}); err != nil {
		h.T.Fatal(err)
	}
}

// wait waits until the host budget of a virtual one asks for so many pods; -1: is not there.
func (h *fixture) wait(name string, least int32) {
	h.T.Helper()
	h.Eventually("host budget of "+name, func(ctx context.Context) (bool, any) {
		b, err := h.Host.PolicyV1().PodDisruptionBudgets(harness.HostNamespace).Get(ctx, h.Translator.Name("shop", name), metav1.GetOptions{})
		if err != nil {
			return least < 0 && apierrors.IsNotFound(err), err
		}
		return b.Spec.MinAvailable != nil && b.Spec.MinAvailable.IntVal == least, b.Spec
	})
}

func TestCopyFollowsTheTenants(t *testing.T) {
	h := start(t, 0)
	b := budget("b", 1)
	h.create(b)
	h.wait("b", 1)
	b.Spec.MinAvailable = ptr.To(intstr.FromInt32(2))
	if _, err := h.Virtual.PolicyV1().PodDisruptionBudgets("shop").Update(t.Context(), b, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("b", 2)
	// Somebody on the host takes it away.
	if err := h.Host.PolicyV1().PodDisruptionBudgets(harness.HostNamespace).Delete(t.Context(), h.Translator.Name("shop", "b"), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("b", 2)
	h.delete("b")
	h.wait("b", -1)
}

// TestNumberFollowsTheStatus of a budget that does not say a number itself.
func TestNumberFollowsTheStatus(t *testing.T) {
	h := start(t, 0)
	b := budget("b", 0)
	b.Generation, b.Spec.MinAvailable, b.Spec.MaxUnavailable = 1, nil, ptr.To(intstr.FromString("30%"))
	b.Status = policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 1, DesiredHealthy: 2}
	h.create(b)
	h.wait("b", 2)
	b.Status.DesiredHealthy = 7
	if _, err := h.Virtual.PolicyV1().PodDisruptionBudgets("shop").UpdateStatus(t.Context(), b, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("b", 7)
}

func TestLeftoverIsRemoved(t *testing.T) {
	tr := harness.Translator(t)
	left, foreign := tr.BudgetToHost(budget("gone", 1)), tr.BudgetToHost(budget("gone", 1))
	foreign.Name = "operators"
	h := start(t, 0, left, foreign)
	h.wait("gone", -1)
	if _, err := h.Host.PolicyV1().PodDisruptionBudgets(harness.HostNamespace).Get(t.Context(), "operators", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

func TestMostCopies(t *testing.T) {
	h := start(t, 1)
	h.create(budget("first", 1))
	h.wait("first", 1)
	h.create(budget("second", 1))
	if event := <-h.events.Events; !strings.Contains(event, "NotOnHost the host has 1 poddisruptionbudgets") {
		t.Errorf("event %q", event)
	}
	h.wait("second", -1)
}

func TestRefusedCopyHasAnEvent(t *testing.T) {
	h := prepare(t, func(*every.Config[*policyv1.PodDisruptionBudget]) {})
	h.Host.PrependReactor("create", "poddisruptionbudgets", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "poddisruptionbudgets"}, "host-name", nil)
	})
	h.Run(h.controller.Run)
	h.create(budget("b", 1))
	if event := <-h.events.Events; !strings.Contains(event, "NotOnHost") || !strings.Contains(event, "Forbidden") || strings.Contains(event, "host-name") {
		t.Errorf("event %q", event)
	}
}

// TestUnwantedCopyGoes, and what was shown of it, before it does.
func TestUnwantedCopyGoes(t *testing.T) {
	shown := make(chan int32, 10)
	h := startWith(t, func(c *every.Config[*policyv1.PodDisruptionBudget]) {
		c.Wanted = func(b *policyv1.PodDisruptionBudget) (bool, string) {
			return b.Spec.MinAvailable.IntVal < 3, "three are too many"
		}
		c.Show = func(_ context.Context, _, host *policyv1.PodDisruptionBudget) error {
			if host == nil {
				shown <- -1
			} else if host.Status.CurrentHealthy > 0 {
				shown <- host.Status.CurrentHealthy
			}
			return nil
		}
	})
	h.create(budget("never", 3))
	if event := <-h.events.Events; !strings.Contains(event, "three are too many") {
		t.Errorf("event %q", event)
	}
	b := budget("b", 1)
	h.create(b)
	h.wait("b", 1)
	host := h.Host.PolicyV1().PodDisruptionBudgets(harness.HostNamespace)
	seen, err := host.Get(t.Context(), h.Translator.Name("shop", "b"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seen.Status.CurrentHealthy = 5
	if _, err := host.UpdateStatus(t.Context(), seen, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := <-shown; got != 5 {
		t.Errorf("shown %d, want 5", got)
	}
	b.Spec.MinAvailable = ptr.To(intstr.FromInt32(3))
	if _, err := h.Virtual.PolicyV1().PodDisruptionBudgets("shop").Update(t.Context(), b, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.wait("b", -1)
	for got := range shown {
		if got == -1 {
			break
		}
	}
	h.wait("never", -1)
}

// TestUnwantedCopyStaysUntilItsStatusIsGone: without the copy, nobody would take
// the host's status off the virtual object.
func TestUnwantedCopyStaysUntilItsStatusIsGone(t *testing.T) {
	var taken atomic.Int32
	h := startWith(t, func(c *every.Config[*policyv1.PodDisruptionBudget]) {
		c.Wanted = func(b *policyv1.PodDisruptionBudget) (bool, string) { return b.Spec.MinAvailable.IntVal < 3, "" }
		c.Show = func(_ context.Context, virtual, host *policyv1.PodDisruptionBudget) error {
			if host == nil && taken.Add(1) == 1 {
				return apierrors.NewConflict(schema.GroupResource{Group: "policy", Resource: "poddisruptionbudgets"}, virtual.Name, nil)
			}
			return nil
		}
	})
	b := budget("b", 1)
	h.create(b)
	h.wait("b", 1)
	b.Spec.MinAvailable = ptr.To(intstr.FromInt32(3))
	if _, err := h.Virtual.PolicyV1().PodDisruptionBudgets("shop").Update(t.Context(), b, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	h.Eventually("the copy is gone, and its status before", func(ctx context.Context) (bool, any) {
		h.Clock.Step(time.Second) // a failure is tried again
		_, err := h.Host.PolicyV1().PodDisruptionBudgets(harness.HostNamespace).Get(ctx, h.Translator.Name("shop", "b"), metav1.GetOptions{})
		return apierrors.IsNotFound(err) && taken.Load() == 2, taken.Load()
	})
}
