// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nodes_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/sync/nodes"
)

// TestNodeWritesAreJudged: a write that porticod would put back is refused, and
// one that the host's scheduler does not know of gets a warning.
func TestNodeWritesAreJudged(t *testing.T) {
	real := func(change func(*corev1.Node)) *corev1.Node {
		n := &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{
				Name: "n", Labels: map[string]string{"zone": "b", "mine": "x"},
				Annotations: map[string]string{nodes.AnnotationHost: `{"uid":"1","labels":["zone"],"taints":["gpu:NoSchedule"],"resources":["cpu"],"unschedulable":true}`},
			},
			Spec: corev1.NodeSpec{Unschedulable: true, Taints: []corev1.Taint{{Key: "gpu", Effect: corev1.TaintEffectNoSchedule}}},
			Status: corev1.NodeStatus{
				Capacity:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4")},
				Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
			},
		}
		change(n)
		return n
	}
	fake := func(change func(*corev1.Node)) *corev1.Node {
		return real(func(n *corev1.Node) {
			n.Annotations, n.Labels[nodes.LabelFake], n.Spec = nil, "true", corev1.NodeSpec{}
			change(n)
		})
	}
	same := func(*corev1.Node) {}
	unmark := func(n *corev1.Node) { n.Annotations = nil }
	notReady := func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionFalse }
	extended := func(n *corev1.Node) { n.Status.Capacity["example.com/thing"] = resource.MustParse("2") }
	taint := func(n *corev1.Node) {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "mine", Effect: corev1.TaintEffectNoSchedule})
	}
	own := real(unmark)
	for reason, c := range map[string]struct {
		before, after *corev1.Node
		refusal       string // empty: it holds
		warnings      []string
	}{
		"a label of the host":           {real(same), real(func(n *corev1.Node) { n.Labels["zone"] = "c" }), "label zone cannot be changed", nil},
		"a label of the host, removed":  {real(same), real(func(n *corev1.Node) { delete(n.Labels, "zone") }), "label zone", nil},
		"a taint of the host":           {real(same), real(func(n *corev1.Node) { n.Spec.Taints = nil }), "taint gpu:NoSchedule", nil},
		"the host's cordon":             {real(same), real(func(n *corev1.Node) { n.Spec.Unschedulable = false }), "its cordon", nil},
		"the status":                    {real(same), real(notReady), "status.conditions", nil},
		"a resource of the host":        {real(same), real(func(n *corev1.Node) { n.Status.Capacity["cpu"] = resource.MustParse("8") }), "status.capacity", nil},
		"a deletion":                    {real(same), nil, "cannot be deleted", nil},
		"the mark":                      {real(same), real(unmark), "only porticod sets them", nil},
		"the mark of a new node":        {nil, real(same), "only porticod sets them", nil},
		"the mark on one's own":         {own, fake(same), "only porticod sets them", nil},
		"one's own label":               {real(same), real(func(n *corev1.Node) { n.Labels["mine"] = "y" }), "", nil},
		"one's own resource":            {real(same), real(extended), "", nil},
		"one's own taint":               {real(same), real(taint), "", []string{"the taint mine:NoSchedule holds inside only: the host schedules, and its pods come to this node all the same"}},
		"one's own node":                {own, real(func(n *corev1.Node) { unmark(n); notReady(n) }), "", nil},
		"the end of one's own node":     {own, nil, "", nil},
		"a new node":                    {nil, own, "", nil},
		"a made-up node's status":       {fake(same), fake(notReady), "status.conditions", nil},
		"a made-up node's own resource": {fake(same), fake(extended), "", nil},
		"a made-up node's deletion":     {fake(same), nil, "cannot be deleted", nil},
		"a made-up node's labels":       {fake(same), fake(func(n *corev1.Node) { n.Labels["zone"] = "c" }), "", nil},
		"a cordon, which the host does not know": {fake(same), fake(func(n *corev1.Node) { n.Spec.Unschedulable = true }), "", []string{
			"the cordon holds inside only: the host schedules, and pods come to this node all the same",
		}},
	} {
		t.Run(reason, func(t *testing.T) {
			warnings, err := nodes.Judge(c.before, c.after)
			if (err == nil) != (c.refusal == "") || err != nil && !strings.Contains(err.Error(), c.refusal) {
				t.Errorf("got %v, want %q", err, c.refusal)
			}
			if diff := cmp.Diff(c.warnings, warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}
