// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/klog/v2"
)

// mayRunOn refuses a pod whose tenant, and not the host's scheduler, chose the
// node. A pod that names a node passes by the scheduler, and by all that keeps a
// tenant's pods off an operator's node there: h, the pod as the host has it, is
// held to the enforced labels and to the taints here. A kubelet knows none of
// the taints that only keep new pods away.
//
// A node that the virtual cluster does not show is answered like one that does
// not exist: otherwise names of nodes could be found out.
func (s *Storage) mayRunOn(ctx context.Context, k key, node string, h *corev1.Pod) error {
	_, err := s.nodeFor(ctx, k, node, h)
	return err
}

// mayBind is mayRunOn for a binding, which a scheduler inside makes. It knows the
// room on the node as of a moment ago, and gets a conflict if that is gone: it
// will look for another node.
func (s *Storage) mayBind(ctx context.Context, k key, node string, h *corev1.Pod) error {
	n, err := s.nodeFor(ctx, k, node, h)
	if err != nil || n == nil || s.cfg.Fits == nil {
		return err
	}
	if err := s.cfg.Fits(n, h); err != nil {
		return apierrors.NewConflict(s.resource, k.name, err)
	}
	return nil
}

// nodeFor returns the node of mayRunOn as the host has it, or nil when its nodes
// cannot be read.
func (s *Storage) nodeFor(ctx context.Context, k key, node string, h *corev1.Pod) (*corev1.Node, error) {
	if s.cfg.NodeTakesPods == nil || !s.cfg.NodeTakesPods(node) {
		return nil, s.unknownNode(k, node)
	}
	if !s.cfg.ReadNodes {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	n, err := s.cfg.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, s.unknownNode(k, node)
	case err != nil:
		klog.FromContext(ctx).Error(err, "Node of a pod cannot be looked up", "virtualObject", k.ref(), "node", node)
		return nil, unavailable("the node of the pod cannot be looked up now")
	case !labels.SelectorFromSet(s.cfg.Translator.Cluster().NodeSelector).Matches(labels.Set(n.Labels)):
		return nil, s.unknownNode(k, node)
	}
	if taint, found := untolerated(ctx, n, h); found {
		return nil, apierrors.NewForbidden(s.resource, k.name, fmt.Errorf(
			"node %q has the taint %s, and the pod has no toleration of it that counts on the host of this cluster", node, taint.ToString()))
	}
	return n, nil
}

// unknownNode is the one answer about every node that is not shown, so that the
// differences between them stay unknown as well.
func (s *Storage) unknownNode(k key, node string) error {
	return apierrors.NewForbidden(s.resource, k.name, fmt.Errorf("node %q is not a node of this cluster that takes pods", node))
}

// untolerated returns the first taint of a node that would keep the host's
// scheduler from putting a pod there. A cordon is one before the host's
// controllers have made it one.
func untolerated(ctx context.Context, n *corev1.Node, h *corev1.Pod) (corev1.Taint, bool) {
	taints := n.Spec.Taints
	if n.Spec.Unschedulable {
		taints = append(taints[:len(taints):len(taints)], corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule})
	}
	keepsAway := func(t *corev1.Taint) bool {
		return t.Effect == corev1.TaintEffectNoSchedule || t.Effect == corev1.TaintEffectNoExecute
	}
	return corev1helpers.FindMatchingUntoleratedTaint(klog.FromContext(ctx), taints, h.Spec.Tolerations, keepsAway, true)
}
