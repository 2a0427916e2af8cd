// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
)

// A generation counts the changes of a spec. Changes that reach the host are
// counted there. Others, such as a toleration that the host pod may not have,
// only show inside, and are counted in the overlay: the tenant sees the sum.

// hiddenChanges is the record of the number of changes that the host has not
// seen.
const hiddenChanges = "generation"

// generation counts a change of the tenant's to a spec that leaves the host's as
// it is. Kinds without a generation count nothing.
func (c *translation) generation(h, host object, spec forms) {
	var hidden int64
	c.prior.get(hiddenChanges, &hidden)
	if host.GetGeneration() > 0 && !apiequality.Semantic.DeepEqual(spec.after, spec.seen) && apiequality.Semantic.DeepEqual(spec.out, spec.host) {
		hidden++
	}
	if hidden > 0 {
		c.overlay.put(hiddenChanges, hidden)
	}
	h.SetGeneration(h.GetGeneration() - hidden)
}

// generation adds the hidden changes to the generation, and to the generation
// that a kubelet has observed.
func (c *restoration) generation(v object) {
	var hidden int64
	if !c.overlay.get(hiddenChanges, &hidden) {
		return
	}
	v.SetGeneration(v.GetGeneration() + hidden)
	pod, ok := runtime.Object(v).(*corev1.Pod)
	if !ok {
		return
	}
	if pod.Status.ObservedGeneration > 0 {
		pod.Status.ObservedGeneration += hidden
	}
	var own []string
	c.overlay.get(ownConditions, &own)
	for i := range pod.Status.Conditions {
		condition := &pod.Status.Conditions[i]
		if condition.ObservedGeneration > 0 && !slices.Contains(own, string(condition.Type)) {
			condition.ObservedGeneration += hidden
		}
	}
}
