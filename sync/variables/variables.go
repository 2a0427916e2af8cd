// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package variables

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/copies"
	"portico.dev/portico/sync/internal/hostview"
	"portico.dev/portico/sync/internal/queue"
)

const (
	// workers bounds the ConfigMaps that are written at the same time.
	workers = 2
	// settle is how long the leader waits after a Service has changed: they come
	// in dozens, and each write is of the whole namespace. A pod does not wait.
	settle = 500 * time.Millisecond
)

// Config says where Services are read, and where their variables are written.
type Config struct {
	Translator *rewrite.Translator
	// Virtual is asked whether a namespace has gone.
	Virtual kubernetes.Interface
	// Informers are of the virtual side.
	Informers informers.SharedInformerFactory
	// Host writes the ConfigMaps, in the cluster's host namespace.
	Host kubernetes.Interface
	// Leader does so for Run; nil means Host.
	Leader kubernetes.Interface
	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// Controller keeps the ConfigMaps.
type Controller struct {
	cfg  Config
	view informers.SharedInformerFactory

	services   corelisters.ServiceLister
	filled     cache.InformerSynced // services
	namespaces corelisters.NamespaceLister
	pods       cache.Indexer

	ensured copies.Kind[*corev1.ConfigMap] // as Ensure writes them
	kept    copies.Kind[*corev1.ConfigMap] // as Run does
	loop    *queue.Loop[string]            // over virtual namespaces, and "" for no Services

	mu sync.Mutex
	// current has the namespaces whose Services have not changed since this
	// replica saw their ConfigMap in step. changes counts the events of Services.
	current map[string]bool
	changes int
}

// New returns a Controller. It registers with the informers, so it must be
// called before they are started.
func New(cfg Config) (*Controller, error) {
	if cfg.Leader == nil {
		cfg.Leader = cfg.Host
	}
	view, err := hostview.NewComposedFactory(cfg.Host, cfg.Translator, hostview.ServiceVariables)
	if err != nil {
		return nil, err
	}
	core := cfg.Informers.Core().V1()
	services, namespaces := core.Services().Informer(), core.Namespaces().Informer()
	c := &Controller{
		cfg: cfg, view: view, services: core.Services().Lister(), filled: services.HasSynced, namespaces: core.Namespaces().Lister(),
		pods: core.Pods().Informer().GetIndexer(), current: map[string]bool{},
	}
	removed := &copies.Removed{}
	c.ensured, c.kept = c.kind(cfg.Host, removed), c.kind(cfg.Leader, removed)
	c.loop = queue.NewLoop("variables", cfg.Clock, c.reconcile)
	always := queue.Always(c.loop)
	return c, errors.Join(
		queue.Listen(always, "services", services, queue.Each(c.changed)),
		queue.Listen(always, "namespaces", namespaces, queue.On[*corev1.Namespace]{Deleted: c.gone}),
		queue.Listen(c.loop, "pods", core.Pods().Informer(), queue.On[*corev1.Pod]{Added: c.posted}),
		queue.Listen(c.loop, "variables", view.Core().V1().ConfigMaps().Informer(), queue.Each(c.observed)),
	)
}

// Observe looks at the ConfigMaps that are on the host until ctx ends, in every
// replica.
func (c *Controller) Observe(ctx context.Context) error { return hostview.Observe(ctx, c.view) }

// Run keeps them in step until ctx ends. With several replicas, only the leader
// runs it.
func (c *Controller) Run(ctx context.Context) error { return c.loop.Run(ctx, workers, c.cfg.Informers) }

// changed handles every event of a Service, in every replica.
func (c *Controller) changed(s *corev1.Service) {
	c.mu.Lock()
	c.changes++
	delete(c.current, s.Namespace)
	c.mu.Unlock()
	if c.loop.Begun() {
		c.loop.AddAfter(s.Namespace, settle)
	}
}

// gone forgets a namespace.
func (c *Controller) gone(ns *corev1.Namespace) {
	c.mu.Lock()
	delete(c.current, ns.Name)
	c.mu.Unlock()
	if c.loop.Begun() {
		c.loop.Add(ns.Name)
	}
}

// posted finds pods whose ConfigMap is missing, such as one that was deleted
// while porticod was not there.
func (c *Controller) posted(p *corev1.Pod) {
	for _, namespace := range []string{p.Namespace, ""} {
		if !c.kept.Known(c.cfg.Translator.ServiceVariablesName(namespace)) {
			c.loop.Add(namespace)
		}
	}
}

// observed has a ConfigMap looked at that somebody changed or deleted.
func (c *Controller) observed(host *corev1.ConfigMap) {
	namespace := host.Labels[rewrite.LabelNamespace]
	if host.Name == c.cfg.Translator.ServiceVariablesName(namespace) {
		c.loop.Add(namespace)
	}
}

// reconcile brings the ConfigMap of one namespace in step.
func (c *Controller) reconcile(ctx context.Context, namespace string) (time.Duration, error) {
	name := c.cfg.Translator.ServiceVariablesName(namespace)
	exists, err := c.exists(ctx, namespace)
	if err != nil {
		return 0, err
	}
	if !exists {
		_, err := c.kept.RemoveSeen(ctx, name)
		return 0, describe(namespace, err)
	}
	if !c.kept.Known(name) && !c.hasPods(namespace) {
		return 0, nil
	}
	want, left, err := c.want(namespace)
	if err != nil {
		return 0, err
	}
	effect, err := c.kept.Write(ctx, want)
	if effect != copies.None && left > 0 {
		klog.FromContext(ctx).Info("Service variables do not fit, and containers do without those of the youngest Services", "namespace", namespace, "left", left)
	}
	return 0, describe(namespace, err)
}

// exists reports whether a virtual namespace does. The informer may not have one
// that a pod was just made in.
func (c *Controller) exists(ctx context.Context, namespace string) (bool, error) {
	if namespace == "" {
		return true, nil
	}
	if _, err := c.namespaces.Get(namespace); err == nil {
		return true, nil
	}
	_, err := c.cfg.Virtual.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

func (c *Controller) hasPods(namespace string) bool {
	if namespace == "" {
		return len(c.pods.ListKeys()) > 0
	}
	pods, err := c.pods.ByIndex(cache.NamespaceIndex, namespace)
	return err == nil && len(pods) > 0
}

// want is the ConfigMap of a namespace with the Services of now. So many of them
// are left out.
func (c *Controller) want(namespace string) (want *corev1.ConfigMap, left int, err error) {
	var services []*corev1.Service
	if namespace != "" {
		if services, err = c.services.Services(namespace).List(labels.Everything()); err != nil {
			return nil, 0, fmt.Errorf("list services of %q: %w", namespace, err)
		}
	}
	t := c.cfg.Translator
	data, left := t.ServiceVariables(namespace, services)
	marks := t.ScopeLabels()
	if namespace != "" {
		marks = t.NamespaceSelector(namespace)
	}
	marks[hostview.LabelComposed] = string(hostview.ServiceVariables)
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: t.Cluster().HostNamespace, Name: t.ServiceVariablesName(namespace), Labels: marks, OwnerReferences: t.Owners(),
		},
		Data: data,
	}, left, nil
}

// kind says how the ConfigMaps are kept.
func (c *Controller) kind(host kubernetes.Interface, removed *copies.Removed) copies.Kind[*corev1.ConfigMap] {
	t := c.cfg.Translator
	namespace := t.Cluster().HostNamespace
	return copies.Kind[*corev1.ConfigMap]{
		Client: host.CoreV1().ConfigMaps(namespace),
		Seen:   c.view.Core().V1().ConfigMaps().Lister().ConfigMaps(namespace).Get, Removed: removed,
		Ours: func(host *corev1.ConfigMap) bool {
			return t.ScopeSelector().Matches(labels.Set(host.Labels)) && host.Labels[hostview.LabelComposed] == string(hostview.ServiceVariables)
		},
		Rules: copies.Rules[*corev1.ConfigMap]{
			Same:     hostview.Same[*corev1.ConfigMap],
			SameSeen: hostview.SameSeen[*corev1.ConfigMap],
			Patch: func(want, old *corev1.ConfigMap) map[string]any {
				return map[string]any{"data": hostview.Changes(want.Data, old.Data)}
			},
			// Somebody has made it immutable.
			Fixed: func(_, host *corev1.ConfigMap) bool { return host.Immutable != nil && *host.Immutable },
		},
	}
}

func describe(namespace string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("service variables of %q on the host: %w", namespace, err)
}
