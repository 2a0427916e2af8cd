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
	class, has, err := p.classOf(ctx, pod)
	if !has || err != nil {
		return "", err
	}
	return class.Name, p.push(ctx, &p.forUse, class)
}

// Tried is For of a pod that is tried and not made (dryRun=All). No copy is made, and
// a class that the host has no copy of counts as none: a host would refuse a pod with
// a class that it does not know.
func (p *Pusher) Tried(ctx context.Context, pod *corev1.Pod) (string, error) {
	class, has, err := p.classOf(ctx, pod)
	if !has || err != nil || !p.forUse.Known(p.cfg.Translator.ClusterName(class.Name)) {
		return "", err
	}
	return class.Name, nil
}

// classOf returns the class of a pod, if it is one that the host has copies of.
func (p *Pusher) classOf(ctx context.Context, pod *corev1.Pod) (class *schedulingv1.PriorityClass, has bool, err error) {
	name := pod.Spec.PriorityClassName
	if name == "" || rewrite.ReservedClass(name) {
		return nil, false, nil
	}
	class, exists, err := p.find(ctx, name)
	if err == nil && !exists {
		err = fmt.Errorf("priority class %q: %w", name, rewrite.ErrNoClass)
	}
	if err != nil {
		return nil, false, err
	}
	return class, !mirrored(class), nil
}
