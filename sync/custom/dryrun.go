// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package custom

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/pager"

	"portico.dev/portico/rewrite"
)

// Dry is one object of a dry run: what the host would have of it, or why nothing.
type Dry struct {
	Virtual, Host object
	// Refused is the reason, for the tenant, why there is no Host.
	Refused error
	// Undeclared are fields that look like references. They are among the reasons.
	Undeclared []string
}

// DryRun translates the objects of a kind that are in the virtual cluster, in one
// version, and writes nothing. visit is called for each.
func DryRun(ctx context.Context, cfg Config, virtual dynamic.Interface, version string, visit func(Dry) error) error {
	c := New(cfg)
	o := &objects{cfg: &c.cfg, resource: c.resource(version)}
	list := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return virtual.Resource(o.resource).List(ctx, options)
	})
	err := list.EachListItem(ctx, metav1.ListOptions{}, func(obj runtime.Object) error {
		v, ok := obj.(object)
		if !ok || !c.cfg.selects(v) {
			return nil
		}
		dry := Dry{Virtual: v}
		for _, e := range c.cfg.Kind.Undeclared(rewrite.CustomContent(v)) {
			dry.Undeclared = append(dry.Undeclared, e.Field)
		}
		dry.Host, dry.Refused = o.toHost(ctx, v)
		return visit(dry)
	})
	if err != nil {
		return fmt.Errorf("list %s of the virtual cluster: %w", o.resource.GroupResource(), err)
	}
	return nil
}
