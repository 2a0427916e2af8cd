// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/component-base/version"

	"portico.dev/portico/sync/nodes"
)

// newNodes makes what keeps the Nodes of the virtual cluster. The mirror is nil
// unless they are host nodes. Every replica watches those, and one writes.
func (vc *virtualCluster) newNodes(lead leaderClients, shared informers.SharedInformerFactory) (part, *nodes.Mirror, error) {
	c := vc.config.Sync.Nodes
	if !c.Real() {
		made, err := nodes.New(nodes.Config{
			Virtual: lead.virtual, Informers: shared, Shape: nodes.DefaultShape(version.Get().GitVersion, runtime.GOARCH),
		})
		return made, nil, err
	}
	wanted, err := c.Labels()
	if err != nil {
		return nil, nil, err
	}
	mirror, err := nodes.NewMirror(nodes.MirrorConfig{
		Virtual: lead.virtual, Informers: shared, Host: vc.hostClient,
		Selector:    labels.SelectorFromSet(wanted),
		InUse:       !c.SyncAllNodes && c.NodeSelector == "",
		HideImages:  c.ClearImageStatus,
		Tolerations: vc.config.Pods.Tolerations,
	})
	return mirror, mirror, err
}

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

// checkNodes tells at the start what would otherwise only be seen as nodes
// that never come.
func (vc *virtualCluster) checkNodes(ctx context.Context) error {
	if !vc.config.Sync.Nodes.Real() {
		return nil
	}
	err := nodes.CheckAccess(ctx, vc.hostClient)
	if apierrors.IsForbidden(err) {
		return withHint(fmt.Errorf("sync.nodes shows host nodes: %w", err),
			"porticod needs the ClusterRole in docs/configuration.md; without sync.nodes, nodes are made up and need no rights")
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
