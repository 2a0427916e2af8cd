// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"maps"
	"math"
	"testing"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func budget(change func(*policyv1.PodDisruptionBudget)) *policyv1.PodDisruptionBudget {
	b := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "demo", Name: "b", Generation: 3, Labels: map[string]string{"app": "x"}, Annotations: map[string]string{"a": "b"},
			Finalizers: []string{"example.com/f"},
		},
		Spec:   policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}},
		Status: policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 3, DesiredHealthy: 4, ExpectedPods: 5, DisruptedPods: map[string]metav1.Time{"pod": {}}},
	}
	change(b)
	return b
}

func TestBudgetAsksForANumber(t *testing.T) {
	tr := mustNew(t, testCluster())
	for name, tc := range map[string]struct {
		change func(*policyv1.PodDisruptionBudget)
		want   int32
	}{
		"a number":             {func(b *policyv1.PodDisruptionBudget) { b.Spec.MinAvailable = ptr(intstr.FromInt32(2)) }, 2},
		"zero":                 {func(b *policyv1.PodDisruptionBudget) { b.Spec.MinAvailable = ptr(intstr.FromInt32(0)) }, 0},
		"a part":               {func(b *policyv1.PodDisruptionBudget) { b.Spec.MinAvailable = ptr(intstr.FromString("70%")) }, 4},
		"a number that may go": {func(b *policyv1.PodDisruptionBudget) { b.Spec.MaxUnavailable = ptr(intstr.FromInt32(1)) }, 4},
		"a part that may go":   {func(b *policyv1.PodDisruptionBudget) { b.Spec.MaxUnavailable = ptr(intstr.FromString("20%")) }, 4},
		"not counted so far": {func(b *policyv1.PodDisruptionBudget) {
			b.Spec.MaxUnavailable, b.Status = ptr(intstr.FromInt32(1)), policyv1.PodDisruptionBudgetStatus{}
		}, math.MaxInt32},
		"changed, not counted": {func(b *policyv1.PodDisruptionBudget) {
			b.Spec.MaxUnavailable, b.Generation = ptr(intstr.FromInt32(1)), 4
		}, math.MaxInt32},
		"a number, not counted": {func(b *policyv1.PodDisruptionBudget) {
			b.Spec.MinAvailable, b.Generation = ptr(intstr.FromInt32(2)), 4
		}, 2},
		"cannot be counted": {func(b *policyv1.PodDisruptionBudget) {
			b.Spec.MaxUnavailable = ptr(intstr.FromInt32(1))
			b.Status.Conditions = []metav1.Condition{{Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, Reason: policyv1.SyncFailedReason}}
		}, math.MaxInt32},
	} {
		v := budget(tc.change)
		before := v.DeepCopy()
		h := tr.BudgetToHost(v)
		if h.Spec.MaxUnavailable != nil || h.Spec.MinAvailable == nil || *h.Spec.MinAvailable != intstr.FromInt32(tc.want) {
			t.Errorf("%s: %+v, want %d", name, h.Spec, tc.want)
		}
		if d := diff(before, v); d != "" {
			t.Errorf("%s: the argument has changed:\n%s", name, d)
		}
	}
	h := tr.BudgetToHost(budget(func(b *policyv1.PodDisruptionBudget) {
		b.Spec.UnhealthyPodEvictionPolicy = ptr(policyv1.AlwaysAllow)
	}))
	if h.Spec.MinAvailable != nil || *h.Spec.UnhealthyPodEvictionPolicy != policyv1.AlwaysAllow {
		t.Errorf("a budget without a number: %+v", h.Spec)
	}
	if namespace, name, err := tr.Identify("PodDisruptionBudget", h); err != nil || namespace != "demo" || name != "b" {
		t.Errorf("the copy leads back to %s/%s, %v", namespace, name, err)
	}
	if _, ok := h.Labels["app"]; ok || h.Annotations["a"] != "" || len(h.Finalizers) != 0 || len(h.Status.DisruptedPods) != 0 {
		t.Errorf("the copy has more than a selector and a number: %+v, %+v", h.ObjectMeta, h.Status)
	}
}

// A tenant's budget selects pods of another of its namespaces, of a neighbour and
// of the operator, by an empty selector, by labels that these have and by the
// labels that Portico gives, to keep their node from being drained. It selects
// pods of its own namespace only, and one that selects none does not begin to.
func TestAttackBudgetHoldsPodsOfOthers(t *testing.T) {
	tr := mustNew(t, testCluster())
	mine := tr.NamespaceSelector("demo")
	other := maps.Clone(mine)
	other["portico.dev/namespace"] = "other"
	neighbour := maps.Clone(mine)
	neighbour["portico.dev/cluster"] = "neighbour"
	expression := func(key string, op metav1.LabelSelectorOperator, values ...string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: key, Operator: op, Values: values}}}
	}
	for name, tc := range map[string]struct {
		selector *metav1.LabelSelector
		own      bool
	}{
		"nothing":              {nil, false},
		"everything":           {&metav1.LabelSelector{}, true},
		"a label of others":    {&metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, true},
		"not a label":          {expression("none", metav1.LabelSelectorOpDoesNotExist), true},
		"the label of Portico": {&metav1.LabelSelector{MatchLabels: map[string]string{"portico.dev/cluster": "neighbour"}}, false},
		"another namespace":    {expression("portico.dev/namespace", metav1.LabelSelectorOpIn, "other"), false},
		"no pod at all": {&metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}, MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "app", Operator: metav1.LabelSelectorOpDoesNotExist},
		}}, false},
	} {
		h := tr.BudgetToHost(budget(func(b *policyv1.PodDisruptionBudget) { b.Spec.Selector = tc.selector }))
		selector, err := metav1.LabelSelectorAsSelector(h.Spec.Selector)
		if err != nil {
			t.Fatal(err)
		}
		for whose, of := range map[string]map[string]string{"own": mine, "another namespace's": other, "a neighbour's": neighbour, "the operator's": {}} {
			pod := labels.Set{"app": "web"}
			maps.Copy(pod, of)
			if got, want := selector.Matches(pod), tc.own && whose == "own"; got != want {
				t.Errorf("%s: %s pod selected: %v, want %v", name, whose, got, want)
			}
		}
	}
}
