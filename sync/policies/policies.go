// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package policies

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/copies"
	"portico.dev/portico/sync/internal/hostview"
	"portico.dev/portico/sync/internal/queue"
	"portico.dev/portico/sync/internal/room"
	"portico.dev/portico/sync/kinds"
)

const (
	// workers bounds the policies that are written at the same time.
	workers = 4
	// mostPolicies bounds those that every node of the host has to follow.
	mostPolicies = 1000
	// whenFull is how long a policy waits for room before it is looked at again.
	whenFull = time.Minute
	// whenMoved is how long it takes until policies lead to a door that has moved,
	// where they do so by its address.
	whenMoved = time.Minute
)

// Config says where policies are read, and where they are written.
type Config struct {
	Translator *rewrite.Translator
	// Informers are of the virtual side.
	Informers informers.SharedInformerFactory
	// Host writes policies, in the cluster's host namespace.
	Host kubernetes.Interface
	// Pods labels host pods.
	Pods metadata.Interface
	// Network describes the host as it is now.
	Network func() rewrite.Network
	// Events gets those about policies that the host refuses.
	Events record.EventRecorder
	// Most is how many policies the host has at most; 0 means a thousand.
	Most int
	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// Controller keeps the host policies, and the label of pods. It works policy by
// policy.
type Controller struct {
	cfg        Config
	informers  informers.SharedInformerFactory
	view       informers.SharedInformerFactory
	policies   networkinglisters.NetworkPolicyLister
	namespaces corelisters.NamespaceLister
	row        kinds.Pushed[*networkingv1.NetworkPolicy]
	copies     copies.Kind[*networkingv1.NetworkPolicy]
	loop       *queue.Loop[types.NamespacedName] // over virtual policies
	room       *room.Room
	marks      *marks // nil without bounds
}

// New returns a controller. It registers with the informers, so it must be
// called before they are relied on.
func New(cfg Config) (*Controller, error) {
	if cfg.Most == 0 {
		cfg.Most = mostPolicies
	}
	view := hostview.NewFactory(cfg.Host, cfg.Translator.Cluster().HostNamespace, cfg.Translator.ScopeSelector())
	policies, namespaces := cfg.Informers.Networking().V1().NetworkPolicies(), cfg.Informers.Core().V1().Namespaces()
	c := &Controller{
		cfg: cfg, informers: cfg.Informers, view: view, policies: policies.Lister(), namespaces: namespaces.Lister(),
		row: kinds.PushedNetworkPolicies(cfg.Network),
	}
	c.copies = c.row.Copies(cfg.Translator, cfg.Host, view)
	pushed := c.row.Informer(view)
	c.room = room.New(cfg.Most, func() []string {
		var names []string
		for _, key := range pushed.GetStore().ListKeys() {
			if _, name, err := cache.SplitMetaNamespaceKey(key); err == nil {
				names = append(names, name)
			}
		}
		return names
	})
	c.loop = queue.NewLoop("network-policies", cfg.Clock, c.reconcile)
	errs := []error{
		queue.Listen(c.loop, "network policies", policies.Informer(), queue.Each(c.enqueue)),
		queue.Listen(c.loop, "pushed network policies", pushed, queue.Each(c.enqueueCopy)),
		queue.Listen(c.loop, "namespaces", namespaces.Informer(), queue.On[*corev1.Namespace]{Changed: c.namespaceChanged}),
	}
	if cfg.Network().Bounds != nil {
		var err error
		c.marks, err = newMarks(c, pushed)
		errs = append(errs, err)
	}
	return c, errors.Join(errs...)
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	if c.marks == nil {
		return c.loop.Run(ctx, workers, c.informers, c.view)
	}
	return c.marks.runWith(ctx, func(ctx context.Context) error { return c.loop.Run(ctx, workers, c.informers, c.view) })
}

func (c *Controller) enqueue(p *networkingv1.NetworkPolicy) {
	c.loop.Add(types.NamespacedName{Namespace: p.Namespace, Name: p.Name})
}

func (c *Controller) enqueueCopy(p *networkingv1.NetworkPolicy) {
	if namespace, name, ours := c.row.ToVirtual(c.cfg.Translator, p); ours {
		c.loop.Add(types.NamespacedName{Namespace: namespace, Name: name})
	}
}

// namespaceChanged asks for all policies when the labels of the namespace change
// in which the DNS seems to be. Those of other namespaces are on their pods.
func (c *Controller) namespaceChanged(old, namespace *corev1.Namespace) {
	if namespace.Name != rewrite.DNSNamespace || maps.Equal(old.Labels, namespace.Labels) {
		return
	}
	for _, key := range c.row.Informer(c.informers).GetStore().ListKeys() {
		if namespace, name, err := cache.SplitMetaNamespaceKey(key); err == nil {
			c.loop.Add(types.NamespacedName{Namespace: namespace, Name: name})
		}
	}
}

// reconcile brings the host policy of one virtual policy in step.
func (c *Controller) reconcile(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	virtual, err := c.policies.NetworkPolicies(key.Namespace).Get(key.Name)
	if err != nil && !apierrors.IsNotFound(err) {
		return 0, err
	}
	if err != nil || virtual.DeletionTimestamp != nil {
		return 0, c.remove(ctx, key)
	}
	host, err := c.row.ToHost(c.cfg.Translator, virtual, c.inputs())
	if err != nil {
		return 0, err
	}
	if !c.copies.Known(host.Name) && !c.room.Take(host.Name) {
		c.report(virtual, fmt.Sprintf("the host has %d policies of this cluster, which is the most that it can have", c.room.Most()))
		return whenFull, nil
	}
	if _, err := c.copies.Write(ctx, host); err != nil {
		c.room.Free(host.Name)
		if copies.Refused(err) {
			c.report(virtual, "the host of this cluster does not take the policy: "+string(apierrors.ReasonForError(err)))
		}
		return 0, fmt.Errorf("network policy %s on the host: %w", key, err)
	}
	if c.cfg.Network().Door.Selector == nil {
		return whenMoved, nil
	}
	return 0, nil
}

func (c *Controller) report(p *networkingv1.NetworkPolicy, why string) {
	c.cfg.Events.Event(p, corev1.EventTypeWarning, "NotEnforced", why)
}

func (c *Controller) inputs() rewrite.Inputs {
	namespace, err := c.namespaces.Get(rewrite.DNSNamespace)
	if err != nil {
		return rewrite.Inputs{} // it has the labels that it is made with
	}
	return rewrite.Inputs{Namespaces: map[string]map[string]string{namespace.Name: namespace.Labels}}
}

// remove deletes a host policy. Its pods get the operator's policy back before.
func (c *Controller) remove(ctx context.Context, key types.NamespacedName) error {
	name := c.cfg.Translator.Name(key.Namespace, key.Name)
	if c.marks != nil && c.copies.Known(name) {
		if err := c.marks.mark(ctx, types.NamespacedName{Namespace: key.Namespace}, name); err != nil {
			return err
		}
	}
	removed, err := c.copies.RemoveSeen(ctx, name)
	if err != nil {
		return fmt.Errorf("remove network policy %s from the host: %w", key, err)
	}
	if removed {
		c.room.Free(name)
		klog.FromContext(ctx).V(4).Info("Deleted a host policy", "virtualObject", key)
	}
	return nil
}
