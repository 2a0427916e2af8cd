// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"portico.dev/portico/rewrite/rules"
)

const (
	// addedTolerations is the record of the tolerations that the host pod has and
	// the tenant does not see.
	addedTolerations = "tolerations"
	// droppedTolerations is the record of those that only the tenant sees.
	droppedTolerations = "tolerations.dropped"
)

// droppedToleration is a toleration that the host does not have, and its place
// in the tenant's list.
type droppedToleration struct {
	Index      int               `json:"index"`
	Toleration corev1.Toleration `json:"toleration"`
}

// tolerations keeps off the host those that the operator's taints are not meant
// for, and adds the enforced ones. Inside, all of them work: taints that a
// tenant puts on a virtual node are tolerated there.
//
// A toleration of everything becomes one for each key that may be tolerated.
//
// A pod's tolerations can be added to, never removed. A host pod keeps those
// that it has, also if the configuration has changed.
func (c *translation) tolerations(spec *corev1.PodSpec) {
	candidates := c.t.cluster.Tolerations
	if c.in.Host != nil {
		candidates = nil
		c.prior.get(addedTolerations, &candidates)
	}
	var kept []corev1.Toleration
	var dropped []droppedToleration
	for i := range spec.Tolerations {
		t := spec.Tolerations[i]
		if c.mayTolerate(&t) {
			kept = append(kept, t)
			continue
		}
		dropped = append(dropped, droppedToleration{Index: i, Toleration: t})
		if t.Key == "" && t.Operator == corev1.TolerationOpExists {
			candidates = append(slices.Clip(candidates), c.narrowed(t)...)
		}
	}
	var added []corev1.Toleration
	for i := range candidates {
		if t := &candidates[i]; !tolerates(kept, t) && !tolerates(added, t) {
			added = append(added, *t.DeepCopy())
		}
	}
	if len(dropped) > 0 {
		c.overlay.put(droppedTolerations, dropped)
	}
	if len(added) > 0 {
		c.overlay.put(addedTolerations, added)
	}
	if len(dropped) > 0 || len(added) > 0 {
		spec.Tolerations = append(kept, added...)
	}
}

func (c *restoration) tolerations(spec *corev1.PodSpec) {
	dropped := c.dropped(spec.Tolerations)
	if added := c.addedTolerations(); len(added) > 0 {
		spec.Tolerations = orNilList(slices.DeleteFunc(spec.Tolerations, func(t corev1.Toleration) bool { return tolerates(added, &t) }))
	}
	for _, d := range dropped { // in the order of their places
		at := max(0, min(d.Index, len(spec.Tolerations)))
		spec.Tolerations = slices.Insert(spec.Tolerations, at, d.Toleration)
	}
}

// addedTolerations returns those of the host pod that the tenant does not see.
func (c *restoration) addedTolerations() []corev1.Toleration {
	var added []corev1.Toleration
	c.overlay.get(addedTolerations, &added)
	return added
}

// dropped returns the tolerations that only the tenant sees, given those of the
// host pod. The host may have come to the same one by itself: by a runtime
// class, for example, of which both sides' admission takes tolerations.
func (c *restoration) dropped(host []corev1.Toleration) []droppedToleration {
	var dropped []droppedToleration
	c.overlay.get(droppedTolerations, &dropped)
	added := c.addedTolerations()
	return slices.DeleteFunc(dropped, func(d droppedToleration) bool {
		return tolerates(host, &d.Toleration) && !tolerates(added, &d.Toleration)
	})
}

// mayTolerate reports whether the host pod may have a toleration.
func (c *translation) mayTolerate(t *corev1.Toleration) bool {
	if host, ok := c.in.Host.(*corev1.Pod); ok && slices.ContainsFunc(host.Spec.Tolerations, func(o corev1.Toleration) bool { return o.MatchToleration(t) }) {
		return true
	}
	return allows(c.t.cluster.AllowedTolerations, t.Key) || slices.Contains(rules.SystemTaints, t.Key)
}

// narrowed are the tolerations that stand for one of everything.
func (c *translation) narrowed(everything corev1.Toleration) []corev1.Toleration {
	var out []corev1.Toleration
	for _, key := range slices.Concat(rules.SystemTaints, c.t.cluster.AllowedTolerations) {
		t := *everything.DeepCopy()
		t.Key = key
		out = append(out, t)
	}
	return out
}

// tolerates reports whether a list has exactly this toleration.
func tolerates(list []corev1.Toleration, t *corev1.Toleration) bool {
	return slices.ContainsFunc(list, func(o corev1.Toleration) bool { return apiequality.Semantic.DeepEqual(&o, t) })
}
