// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package classes

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/kinds"
)

// Pusher keeps host copies of the PriorityClasses that the tenant makes.
type Pusher struct {
	*pusher[*schedulingv1.PriorityClass]
}

// NewPusher returns a Pusher whose copies have no value above maxValue. It
// registers with the virtual informers, so it must be called before they are
// relied on.
func NewPusher(cfg PushConfig, maxValue int32) (*Pusher, error) {
	p, err := newPusher(cfg, "priority class", kinds.PushedPriorityClasses(maxValue),
		func(_ context.Context, class *schedulingv1.PriorityClass) error {
			if rewrite.ReservedClass(class.Name) {
				return noCopyError{fmt.Sprintf("priority class %q is the system's", class.Name)}
			}
			return nil
		})
	return &Pusher{p}, err
}

// For returns the class of a new pod if the host has a copy of it, which is made
// first if need be. A class that is the system's or the host's own has none. The
// error is rewrite.ErrNoClass when the class has gone.
func (p *Pusher) For(ctx context.Context, pod *corev1.Pod) (string, error) {
	name := pod.Spec.PriorityClassName
	if name == "" || rewrite.ReservedClass(name) {
		return "", nil
	}
	class, exists, err := p.find(ctx, name)
	switch {
	case err != nil:
		return "", err
	case !exists:
		return "", fmt.Errorf("priority class %q: %w", name, rewrite.ErrNoClass)
	case mirrored(class):
		return "", nil
	}
	return name, p.push(ctx, &p.forUse, class)
}
