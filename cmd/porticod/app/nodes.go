// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"
	"runtime"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	return err
}
