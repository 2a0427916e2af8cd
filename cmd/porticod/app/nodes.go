// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/sync/nodes"
)

// hostAllows asks the host whether porticod has a right there.
func (vc *virtualCluster) hostAllows(ctx context.Context, right authorizationv1.ResourceAttributes) (bool, error) {
	review, err := vc.hostClient.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &right},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

// checkNodes reports at the start a missing right that would otherwise only
// show in nodes that never come.
func (vc *virtualCluster) checkNodes(ctx context.Context) error {
	if !vc.config.Sync.Nodes.Real() {
		return nil
	}
	err := nodes.CheckAccess(ctx, vc.hostClient)
	if apierrors.IsForbidden(err) {
		return withHint(fmt.Errorf("sync.nodes shows host nodes: %w", err),
			"porticod needs the ClusterRole that porticod rights prints; without sync.nodes, nodes are made up and need no rights")
	}
	if err != nil || !vc.config.Sync.Nodes.Proxy {
		return err
	}
	allowed, err := vc.hostAllows(ctx, authorizationv1.ResourceAttributes{Verb: "get", Resource: "nodes", Subresource: "proxy"})
	if err != nil {
		return fmt.Errorf("ask the host for the rights of sync.nodes.proxy: %w", err)
	}
	if !allowed {
		return withHint(errors.New("sync.nodes.proxy: the host does not let porticod get nodes/proxy"),
			"read about this right in docs/configuration.md before you grant it, or leave sync.nodes.proxy out")
	}
	return nil
}

// checkScheduler reports at the start the rights that a scheduler inside needs
// and the host does not give.
func (vc *virtualCluster) checkScheduler(ctx context.Context) error {
	if !vc.config.Sync.Nodes.EnableScheduler {
		return nil
	}
	for _, needed := range []struct {
		right authorizationv1.ResourceAttributes
		verbs []string
	}{
		{authorizationv1.ResourceAttributes{Resource: "pods", Subresource: "binding", Namespace: vc.config.Host.Namespace}, []string{"create"}},
		{authorizationv1.ResourceAttributes{Resource: "pods"}, []string{"list", "watch"}},
		{authorizationv1.ResourceAttributes{Resource: "persistentvolumes"}, []string{"get"}},
	} {
		if err := vc.checkVerbs(ctx, needed.right, needed.verbs...); err != nil {
			return withHint(fmt.Errorf("sync.nodes.enableScheduler: %w", err),
				"porticod needs the Role and ClusterRole that porticod rights prints for this configuration")
		}
	}
	return nil
}

// described names the resource of a right, and where the right is missing.
func described(right authorizationv1.ResourceAttributes) string {
	name, where := right.Resource, "on the whole host"
	if right.Subresource != "" {
		name += "/" + right.Subresource
	}
	if right.Namespace != "" {
		where = "in " + right.Namespace
	}
	return name + " " + where
}
