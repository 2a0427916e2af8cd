// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package hooks

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
)

// restTime is how long a hook that failed on the way back is left alone: objects
// come by the thousand, and each would wait for the timeout.
const restTime = 5 * time.Second

// rests remembers until when a hook is left alone.
type rests struct {
	clock clock.PassiveClock
	until atomic.Int64 // Unix nanoseconds
}

func newRests(c clock.PassiveClock) *rests { return &rests{clock: c} }

func (r *rests) begin()         { r.until.Store(r.clock.Now().Add(restTime).UnixNano()) }
func (r *rests) underWay() bool { return r.clock.Now().UnixNano() < r.until.Load() }

// Shows reports whether objects of a resource are shown to hooks on their way
// back.
func (h *Hooks) Shows(resource string) bool {
	return h != nil && slices.ContainsFunc(h.back, func(c *hook) bool { return slices.Contains(c.Resources, resource) })
}

// ToVirtual shows the virtual object obj, which is on its way to the tenant, to
// the hooks of its kind, and returns it with their changes; obj itself stays as it
// is. A hook that refuses, fails, or changes more than an object's looks
// (rewrite.CheckShown) is passed over: an object is always shown.
//
// One revision of an object has one answer, as long as this process remembers
// it: a hook's answer must depend on the object alone.
func (h *Hooks) ToVirtual(ctx context.Context, o Object, obj runtime.Object) runtime.Object {
	if h == nil {
		return obj
	}
	for _, c := range h.back {
		if !slices.Contains(c.Resources, o.Resource.Resource) {
			continue
		}
		changed, err := h.lookOf(ctx, c, o, obj)
		if err != nil {
			c.count(ctx, resultIgnored)
			klog.FromContext(ctx).Error(err, "Hook failed, the object is shown without it", "hook", c.Name, "resource", o.Resource.Resource, "virtualObject", o.Virtual)
			continue
		}
		obj = changed
	}
	return obj
}

// lookOf is an object as one hook has it shown.
func (h *Hooks) lookOf(ctx context.Context, c *hook, o Object, obj runtime.Object) (runtime.Object, error) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	key, about := "back/"+c.Name+"/"+string(m.GetUID()), []byte(m.GetResourceVersion())
	patch, known := h.answers.to(key, about)
	switch {
	case known && len(patch) == 0: // taken as it is
		return obj, nil
	case !known && c.rests.underWay():
		c.count(ctx, resultIgnored)
		return obj, nil
	}
	content, err := asJSON(o, obj)
	if err != nil {
		return nil, err
	}
	if !known {
		if patch, err = c.ask(ctx, o, obj, content); err != nil {
			c.rests.begin()
			return nil, err
		}
	}
	changed, err := patched(obj, content, patch)
	if err != nil {
		return nil, err
	}
	before, err := decoded(obj, content)
	if err != nil {
		return nil, err
	}
	if errs := rewrite.CheckShown(before, changed); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	if !known {
		c.count(ctx, resultOf(before, changed))
		if m.GetUID() != "" && !o.DryRun {
			h.answers.keep(key, about, patch)
		}
	}
	return changed, nil
}
