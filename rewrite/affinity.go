// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// A virtual namespace is a label on the host, so everything in a term that
// speaks of namespaces becomes part of its label selector: the list of names a
// requirement on portico.dev/namespace, the namespaceSelector requirements on
// the hashed keys under which pods carry the labels of their namespace.
//
// The two together mean their union, and requirements only intersect. A term
// that has both becomes two terms over disjoint sets of pods, which adds up to
// the same for preferred terms (weights add) and for required anti-affinity
// (both must hold). Required affinity would then ask for a pod in each set;
// there the selector is resolved to names, by the namespaces known now.

func (c *translation) affinity(h *corev1.Pod, virtualLabels map[string]string) {
	one := func(both union) func(corev1.PodAffinityTerm) []corev1.PodAffinityTerm {
		return func(t corev1.PodAffinityTerm) []corev1.PodAffinityTerm { return c.term(t, virtualLabels, both) }
	}
	weighted := func(w corev1.WeightedPodAffinityTerm) []corev1.WeightedPodAffinityTerm {
		var out []corev1.WeightedPodAffinityTerm
		for _, t := range c.term(w.PodAffinityTerm, virtualLabels, c.split) {
			out = append(out, corev1.WeightedPodAffinityTerm{Weight: w.Weight, PodAffinityTerm: t})
		}
		return out
	}
	translateTerms(c, "topologySpreadConstraints", &h.Spec.TopologySpreadConstraints,
		func(s corev1.TopologySpreadConstraint) []corev1.TopologySpreadConstraint {
			return []corev1.TopologySpreadConstraint{c.constraint(s, virtualLabels)}
		})
	if h.Spec.Affinity == nil {
		return
	}
	if a := h.Spec.Affinity.PodAffinity; a != nil {
		translateTerms(c, affinityKey, &a.RequiredDuringSchedulingIgnoredDuringExecution, one(c.resolve))
		translateTerms(c, affinityKey+".preferred", &a.PreferredDuringSchedulingIgnoredDuringExecution, weighted)
	}
	if a := h.Spec.Affinity.PodAntiAffinity; a != nil {
		translateTerms(c, antiAffinityKey, &a.RequiredDuringSchedulingIgnoredDuringExecution, one(c.split))
		translateTerms(c, antiAffinityKey+".preferred", &a.PreferredDuringSchedulingIgnoredDuringExecution, weighted)
	}
}

func (c *restoration) affinity(v *corev1.Pod) {
	one := func(t *corev1.PodAffinityTerm) *metav1.LabelSelector { return t.LabelSelector }
	weighted := func(w *corev1.WeightedPodAffinityTerm) *metav1.LabelSelector { return w.PodAffinityTerm.LabelSelector }
	restoreTerms(c, "topologySpreadConstraints", &v.Spec.TopologySpreadConstraints,
		func(s *corev1.TopologySpreadConstraint) *metav1.LabelSelector { return s.LabelSelector })
	if v.Spec.Affinity == nil {
		return
	}
	if a := v.Spec.Affinity.PodAffinity; a != nil {
		restoreTerms(c, affinityKey, &a.RequiredDuringSchedulingIgnoredDuringExecution, one)
		restoreTerms(c, affinityKey+".preferred", &a.PreferredDuringSchedulingIgnoredDuringExecution, weighted)
	}
	if a := v.Spec.Affinity.PodAntiAffinity; a != nil {
		restoreTerms(c, antiAffinityKey, &a.RequiredDuringSchedulingIgnoredDuringExecution, one)
		restoreTerms(c, antiAffinityKey+".preferred", &a.PreferredDuringSchedulingIgnoredDuringExecution, weighted)
	}
}

const (
	affinityKey     = "affinity.podAffinity"
	antiAffinityKey = "affinity.podAntiAffinity"
)

// termRecord pairs a term that was written with the tenant's. The second of two
// terms that stand for one has no Virtual and is not shown.
type termRecord[T any] struct {
	Virtual *T `json:"virtual,omitempty"`
	Host    T  `json:"host"`
}

func translateTerms[T any](c *translation, key string, list *[]T, translate func(T) []T) {
	var out []T
	var records []termRecord[T]
	for i := range *list {
		virtual := &(*list)[i]
		for _, host := range translate(*virtual) {
			records = append(records, termRecord[T]{Virtual: virtual, Host: host})
			out = append(out, host)
			virtual = nil
		}
	}
	if len(out) > 0 {
		c.overlay.put(key, records)
		*list = out
	}
}

// restoreTerms turns back every term that is as it was written, or grown by
// requirements that the host appended to its selector, which stay visible.
// Records are used up in order, so that equal terms find each their own.
func restoreTerms[T any](c *restoration, key string, list *[]T, selector func(*T) *metav1.LabelSelector) {
	var records []termRecord[T]
	c.overlay.get(key, &records)
	var out []T
	for i := range *list {
		host := &(*list)[i]
		j := slices.IndexFunc(records, func(r termRecord[T]) bool { return grown(&r.Host, host, selector) })
		if j < 0 {
			c.selector(selector(host))
			out = append(out, *host)
			continue
		}
		r := records[j]
		records = slices.Delete(records, j, j+1)
		if r.Virtual == nil {
			continue
		}
		if s := selector(r.Virtual); s != nil {
			extra := &metav1.LabelSelector{MatchExpressions: selector(host).MatchExpressions[len(selector(&r.Host).MatchExpressions):]}
			c.selector(extra)
			s.MatchExpressions = append(s.MatchExpressions, extra.MatchExpressions...)
		}
		out = append(out, *r.Virtual)
	}
	if len(*list) > 0 {
		*list = out
	}
}

// grown reports whether host equals written, except for requirements appended
// to its selector.
func grown[T any](written, host *T, selector func(*T) *metav1.LabelSelector) bool {
	w, h := selector(written), selector(host)
	if w == nil || h == nil || len(h.MatchExpressions) <= len(w.MatchExpressions) {
		return apiequality.Semantic.DeepEqual(written, host)
	}
	all := h.MatchExpressions
	defer func() { h.MatchExpressions = all }()
	h.MatchExpressions = all[:len(w.MatchExpressions)]
	return apiequality.Semantic.DeepEqual(written, host)
}

// constraint translates a topology spread constraint, which counts the pods of
// the pod's own namespace.
func (c *translation) constraint(virtual corev1.TopologySpreadConstraint, virtualLabels map[string]string) corev1.TopologySpreadConstraint {
	s := *virtual.DeepCopy()
	s.MatchLabelKeys = c.labelKeys(s.LabelSelector, s.MatchLabelKeys, metav1.LabelSelectorOpIn, virtualLabels)
	c.ownPods(s.LabelSelector)
	return s
}

// union says how a term is translated that has both a list of namespaces and a
// namespaceSelector.
type union func(corev1.PodAffinityTerm) []corev1.PodAffinityTerm

// term translates an affinity term.
func (c *translation) term(virtual corev1.PodAffinityTerm, virtualLabels map[string]string, both union) []corev1.PodAffinityTerm {
	t := *virtual.DeepCopy()
	t.MatchLabelKeys = c.labelKeys(t.LabelSelector, t.MatchLabelKeys, metav1.LabelSelectorOpIn, virtualLabels)
	t.MismatchLabelKeys = c.labelKeys(t.LabelSelector, t.MismatchLabelKeys, metav1.LabelSelectorOpNotIn, virtualLabels)
	c.moveKeys(t.LabelSelector)

	out := []corev1.PodAffinityTerm{t}
	switch all := selectsAll(t.NamespaceSelector); {
	case all:
		// Every namespace of the cluster, so also those listed.
	case len(t.Namespaces) > 0 && t.NamespaceSelector != nil:
		out = both(t)
	case t.NamespaceSelector != nil:
		require(t.LabelSelector, c.namespacesMatching(t.NamespaceSelector)...)
	case len(t.Namespaces) > 0:
		require(t.LabelSelector, oneOf(LabelNamespace, t.Namespaces...))
	default:
		require(t.LabelSelector, oneOf(LabelNamespace, c.namespace))
	}
	for i := range out {
		require(out[i].LabelSelector, c.inCluster())
		out[i].Namespaces, out[i].NamespaceSelector = nil, nil
	}
	return out
}

// split makes two terms of one: the first for the listed namespaces, the second
// for those that the selector finds.
func (c *translation) split(t corev1.PodAffinityTerm) []corev1.PodAffinityTerm {
	listed, found := t, *t.DeepCopy()
	require(listed.LabelSelector, oneOf(LabelNamespace, t.Namespaces...))
	require(found.LabelSelector, c.namespacesMatching(t.NamespaceSelector)...)
	require(found.LabelSelector, metav1.LabelSelectorRequirement{
		Key: LabelNamespace, Operator: metav1.LabelSelectorOpNotIn, Values: t.Namespaces,
	})
	return []corev1.PodAffinityTerm{listed, found}
}

// resolve makes of a term one over the namespaces listed and those that the
// selector finds today.
func (c *translation) resolve(t corev1.PodAffinityTerm) []corev1.PodAffinityTerm {
	names := set{}
	for _, n := range t.Namespaces {
		names.add(n)
	}
	known := maps.Clone(c.in.Namespaces)
	if known == nil {
		known = map[string]map[string]string{c.namespace: c.in.NamespaceLabels}
	}
	if s, err := metav1.LabelSelectorAsSelector(t.NamespaceSelector); err == nil {
		for name, of := range known {
			if s.Matches(labels.Set(of)) {
				names.add(name)
			}
		}
	}
	require(t.LabelSelector, oneOf(LabelNamespace, names.sorted()...))
	return []corev1.PodAffinityTerm{t}
}

// namespacesMatching puts a selector over namespaces in terms of their pods.
func (c *translation) namespacesMatching(s *metav1.LabelSelector) []metav1.LabelSelectorRequirement {
	var out []metav1.LabelSelectorRequirement
	for _, k := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		out = append(out, oneOf(namespaceLabelKey(k), s.MatchLabels[k]))
	}
	for i := range s.MatchExpressions {
		r := *s.MatchExpressions[i].DeepCopy()
		r.Key = namespaceLabelKey(r.Key)
		out = append(out, r)
	}
	return out
}

// labelKeys gives matchLabelKeys their host form. An API server merges each key
// into the selector when the pod is created, and refuses one that is there
// twice; the keys that the door has merged are therefore left out.
func (c *translation) labelKeys(s *metav1.LabelSelector, keys []string, op metav1.LabelSelectorOperator, virtualLabels map[string]string) []string {
	var out []string
	for _, k := range keys {
		merged := s != nil && slices.ContainsFunc(s.MatchExpressions, func(r metav1.LabelSelectorRequirement) bool {
			return r.Key == k && r.Operator == op && slices.Equal(r.Values, []string{virtualLabels[k]})
		})
		if !merged {
			out = append(out, c.labelKey(k))
		}
	}
	return out
}

func selectsAll(s *metav1.LabelSelector) bool {
	return s != nil && len(s.MatchLabels) == 0 && len(s.MatchExpressions) == 0
}
