// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// All pods of a virtual cluster, and of every other in the same host namespace,
// are neighbours on the host. A selector stays inside because requirements on
// the reserved labels are added to it. A tenant can neither set these nor select
// by them: their own labels of these names have other keys on the host.

// oneOf is the requirement that a label has one of some values.
func oneOf(key string, values ...string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpIn, Values: values}
}

func (c *translation) inCluster() metav1.LabelSelectorRequirement {
	return oneOf(LabelCluster, c.t.cluster.Name)
}

// ownPods translates a selector of pods in the object's own namespace.
func (c *translation) ownPods(s *metav1.LabelSelector) {
	c.moveKeys(s)
	require(s, oneOf(LabelNamespace, c.namespace), c.inCluster())
}

// moveKeys gives the tenant's keys of labels of pods in a selector their host
// form.
func (c *translation) moveKeys(s *metav1.LabelSelector) { renameKeys(s, c.labelKey) }

func renameKeys(s *metav1.LabelSelector, key func(string) string) {
	if s == nil {
		return
	}
	if s.MatchLabels != nil {
		out := make(map[string]string, len(s.MatchLabels))
		for k, v := range s.MatchLabels {
			out[key(k)] = v
		}
		s.MatchLabels = out
	}
	for i := range s.MatchExpressions {
		s.MatchExpressions[i].Key = key(s.MatchExpressions[i].Key)
	}
}

// require adds requirements to a selector. A nil selector selects nothing, an
// empty one everything, and only the second may be narrowed.
func require(s *metav1.LabelSelector, more ...metav1.LabelSelectorRequirement) {
	if s != nil {
		s.MatchExpressions = append(slices.Clip(s.MatchExpressions), more...)
	}
}

// selector removes the added requirements from a selector and turns moved keys
// back.
func (c *restoration) selector(s *metav1.LabelSelector) {
	if s == nil {
		return
	}
	if s.MatchLabels != nil {
		out := make(map[string]string, len(s.MatchLabels))
		for k, v := range s.MatchLabels {
			if virtual, ok := c.labelKey(k); ok {
				out[virtual] = v
			}
		}
		s.MatchLabels = orNilMap(out)
	}
	s.MatchExpressions = slices.DeleteFunc(s.MatchExpressions, func(r metav1.LabelSelectorRequirement) bool {
		_, ok := c.labelKey(r.Key)
		return !ok
	})
	for i := range s.MatchExpressions {
		s.MatchExpressions[i].Key, _ = c.labelKey(s.MatchExpressions[i].Key)
	}
	if len(s.MatchExpressions) == 0 {
		s.MatchExpressions = nil
	}
}
