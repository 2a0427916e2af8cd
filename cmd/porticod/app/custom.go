// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/custom"
)

// checkCustom checks at the start that the rewrites of sync.custom compile, and
// that the host grants the rights that it needs.
func (vc *virtualCluster) checkCustom(ctx context.Context) error {
	for i := range vc.config.Sync.Custom {
		k := &vc.config.Sync.Custom[i]
		if _, err := custom.NewRewriter(k.Rewrite, nil); err != nil {
			return withHint(fmt.Errorf("sync.custom[%d]: %w", i, err), "docs/configuration.md has examples of rewrites")
		}
		if err := vc.checkCustomKind(ctx, k); err != nil {
			return withHint(fmt.Errorf("sync.custom[%d]: %w", i, err), "porticod needs the rules for "+k.Plural()+" that porticod rights prints")
		}
	}
	return nil
}

func (vc *virtualCluster) checkCustomKind(ctx context.Context, k *config.Custom) error {
	objects := authorizationv1.ResourceAttributes{Group: k.Group, Resource: k.Plural()}
	verbs := []string{"get", "list", "watch"}
	namespaces := []string{""}
	switch {
	case k.Direction == config.CustomToHost:
		namespaces = []string{vc.config.Host.Namespace}
		verbs = append(verbs, "create", "patch", "delete")
	case k.Namespaced():
		namespaces = nil
		for namespace := range k.NamespaceMapping {
			namespaces = append(namespaces, namespace)
		}
	}
	for _, objects.Namespace = range namespaces {
		if err := vc.checkVerbs(ctx, objects, verbs...); err != nil {
			return err
		}
	}
	if k.Builtin() {
		return nil
	}
	definition := authorizationv1.ResourceAttributes{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions", Name: k.Definition()}
	return vc.checkVerbs(ctx, definition, "get", "list", "watch")
}

// customPart copies the objects of custom kinds.
func (c *composition) customPart() (part, error) {
	var run []func(context.Context) error
	for i := range c.config.Sync.Custom {
		k := &c.config.Sync.Custom[i]
		work, err := c.customKind(k)
		if err != nil {
			return part{}, fmt.Errorf("sync.custom[%d]: %w", i, err)
		}
		run = append(run, work)
	}
	if len(run) == 0 {
		return part{}, nil
	}
	return part{leading: func(ctx context.Context) error {
		var all errgroup.Group
		for _, work := range run {
			all.Go(func() error { return work(ctx) })
		}
		return all.Wait()
	}}, nil
}

func (c *composition) customKind(k *config.Custom) (func(context.Context) error, error) {
	selected, err := k.Selected()
	if err != nil {
		return nil, err
	}
	rewriter, err := custom.NewRewriter(k.Rewrite, c.translator)
	if err != nil {
		return nil, err
	}
	if k.Direction == config.CustomFromHost {
		return custom.NewMirror(custom.MirrorConfig{
			Group: k.Group, Resource: k.Plural(), Versions: k.Versions, Builtin: k.Builtin(), Selector: selected,
			Namespaces: k.NamespaceMapping, Rewriter: rewriter,
			Informers: c.shared, Virtual: c.lead.custom.virtual, Host: c.lead.custom.host,
		}).Run, nil
	}
	rules, err := k.Rules()
	if err != nil {
		return nil, err
	}
	controller := custom.New(custom.Config{
		Kind: rules, Resource: k.Plural(), Versions: k.Versions, Builtin: k.Builtin(), Selector: selected,
		StatusBack: k.Status == config.CustomStatusBack, Rewriter: rewriter,
		Translator: c.translator, Informers: c.shared, Virtual: c.lead.custom.virtual, Host: c.lead.custom.host, Events: c.report,
		Named: func(namespace string, refs []rewrite.Reference) {
			if c.pusher != nil {
				c.pusher.Touch(namespace, refs)
			}
		},
	})
	c.usedByCustom = append(c.usedByCustom, controller.Uses)
	return controller.Run, nil
}

// customUses reports whether an object of a custom kind that is for the host names
// a Secret or a ConfigMap.
func (c *composition) customUses(kind, namespace, name string) bool {
	for _, uses := range c.usedByCustom {
		if uses(kind, namespace, name) {
			return true
		}
	}
	return false
}

// customClients are those of custom kinds.
func customClients(c *rest.Config, core kubernetes.Interface) (custom.Clients, error) {
	objects, err := dynamic.NewForConfig(c)
	if err != nil {
		return custom.Clients{}, err
	}
	definitions, err := apiextensions.NewForConfig(c)
	return custom.Clients{Objects: objects, Definitions: definitions, Core: core}, err
}
