// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"math"

	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// BudgetToHost returns the host copy of a PodDisruptionBudget. It has none of the
// tenant's labels and annotations.
//
// The host counts the pods that are there, and cannot know how many there should
// be: none of them has a controller of the host that scales. So the copy always
// asks for a number of healthy pods.
func (t *Translator) BudgetToHost(v *policyv1.PodDisruptionBudget) *policyv1.PodDisruptionBudget {
	c := t.begin("PodDisruptionBudget", v, Inputs{})
	selector := v.Spec.Selector.DeepCopy()
	c.ownPods(selector)
	h := &policyv1.PodDisruptionBudget{ObjectMeta: t.bare("PodDisruptionBudget", v)}
	h.Spec = policyv1.PodDisruptionBudgetSpec{Selector: selector}
	if policy := v.Spec.UnhealthyPodEvictionPolicy; policy != nil {
		h.Spec.UnhealthyPodEvictionPolicy = ptr.To(*policy)
	}
	if v.Spec.MinAvailable != nil || v.Spec.MaxUnavailable != nil {
		h.Spec.MinAvailable = ptr.To(intstr.FromInt32(healthyPods(v)))
	}
	return h
}

// healthyPods is how many pods of a budget must be healthy. A number that is not
// in the budget itself is the one of the disruption controller inside. As long as
// that has none, it allows no eviction, and neither does the copy.
func healthyPods(v *policyv1.PodDisruptionBudget) int32 {
	if m := v.Spec.MinAvailable; m != nil && m.Type == intstr.Int {
		return m.IntVal
	}
	allowed := meta.FindStatusCondition(v.Status.Conditions, policyv1.DisruptionAllowedCondition)
	if v.Status.ObservedGeneration != v.Generation || allowed != nil && allowed.Reason == policyv1.SyncFailedReason {
		return math.MaxInt32
	}
	return v.Status.DesiredHealthy
}
