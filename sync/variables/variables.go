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

// Keeper keeps the ConfigMaps.
type Keeper struct {
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

// New returns a keeper. It registers with the informers, so it must be called
// before they are started.
func New(cfg Config) (*Keeper, error) {
	if cfg.Leader == nil {
		cfg.Leader = cfg.Host
	}
	view, err := hostview.NewComposedFactory(cfg.Host, cfg.Translator, hostview.ServiceVariables)
	if err != nil {
		return nil, err
	}
	core := cfg.Informers.Core().V1()
	services, namespaces := core.Services().Informer(), core.Namespaces().Informer()
	k := &Keeper{
		cfg: cfg, view: view, services: core.Services().Lister(), filled: services.HasSynced, namespaces: core.Namespaces().Lister(),
		pods: core.Pods().Informer().GetIndexer(), current: map[string]bool{},
	}
	removed := &copies.Removed{}
	k.ensured, k.kept = k.kind(cfg.Host, removed), k.kind(cfg.Leader, removed)
	k.loop = queue.NewLoop("variables", cfg.Clock, k.reconcile)
	always := queue.Always(k.loop)
	return k, errors.Join(
		queue.Listen(always, "services", services, queue.Each(k.changed)),
		queue.Listen(always, "namespaces", namespaces, queue.On[*corev1.Namespace]{Deleted: k.gone}),
		queue.Listen(k.loop, "pods", core.Pods().Informer(), queue.On[*corev1.Pod]{Added: k.posted}),
		queue.Listen(k.loop, "variables", view.Core().V1().ConfigMaps().Informer(), queue.Each(k.observed)),
	)
}

// Observe looks at the ConfigMaps that are on the host until ctx ends, in every
// replica.
func (k *Keeper) Observe(ctx context.Context) error { return hostview.Observe(ctx, k.view) }

// Run keeps them in step until ctx ends. With several replicas, only the leader
// runs it.
func (k *Keeper) Run(ctx context.Context) error { return k.loop.Run(ctx, workers, k.cfg.Informers) }

// changed is told of every event of a Service, in every replica.
func (k *Keeper) changed(s *corev1.Service) {
	k.mu.Lock()
	k.changes++
	delete(k.current, s.Namespace)
	k.mu.Unlock()
	if k.loop.Begun() {
		k.loop.AddAfter(s.Namespace, settle)
	}
}

// gone forgets a namespace.
func (k *Keeper) gone(ns *corev1.Namespace) {
	k.mu.Lock()
	delete(k.current, ns.Name)
	k.mu.Unlock()
	if k.loop.Begun() {
		k.loop.Add(ns.Name)
	}
}

// posted finds pods whose ConfigMap is missing, such as one that was deleted
// while porticod was not there.
func (k *Keeper) posted(p *corev1.Pod) {
	for _, namespace := range []string{p.Namespace, ""} {
		if !k.kept.Known(k.cfg.Translator.ServiceVariablesName(namespace)) {
			k.loop.Add(namespace)
		}
	}
}

// observed has a ConfigMap looked at that somebody changed or deleted.
func (k *Keeper) observed(host *corev1.ConfigMap) {
	namespace := host.Labels[rewrite.LabelNamespace]
	if host.Name == k.cfg.Translator.ServiceVariablesName(namespace) {
		k.loop.Add(namespace)
	}
}

// reconcile brings the ConfigMap of one namespace in step.
func (k *Keeper) reconcile(ctx context.Context, namespace string) (time.Duration, error) {
	name := k.cfg.Translator.ServiceVariablesName(namespace)
	exists, err := k.exists(ctx, namespace)
	if err != nil {
		return 0, err
	}
	if !exists {
		_, err := k.kept.RemoveSeen(ctx, name)
		return 0, describe(namespace, err)
	}
	if !k.kept.Known(name) && !k.hasPods(namespace) {
		return 0, nil
	}
	want, left, err := k.want(namespace)
	if err != nil {
		return 0, err
	}
	effect, err := k.kept.Write(ctx, want)
	if effect != copies.None && left > 0 {
		klog.FromContext(ctx).Info("Service variables do not fit, and containers do without those of the youngest Services", "namespace", namespace, "left", left)
	}
	return 0, describe(namespace, err)
}

// exists reports whether a virtual namespace does. The informer may not have one
// that a pod was just made in.
func (k *Keeper) exists(ctx context.Context, namespace string) (bool, error) {
	if namespace == "" {
		return true, nil
	}
	if _, err := k.namespaces.Get(namespace); err == nil {
		return true, nil
	}
	_, err := k.cfg.Virtual.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

func (k *Keeper) hasPods(namespace string) bool {
	if namespace == "" {
		return len(k.pods.ListKeys()) > 0
	}
	pods, err := k.pods.ByIndex(cache.NamespaceIndex, namespace)
	return err == nil && len(pods) > 0
}

// want is the ConfigMap of a namespace with the Services of now. So many of them
// are left out.
func (k *Keeper) want(namespace string) (want *corev1.ConfigMap, left int, err error) {
	var services []*corev1.Service
	if namespace != "" {
		if services, err = k.services.Services(namespace).List(labels.Everything()); err != nil {
			return nil, 0, fmt.Errorf("list services of %q: %w", namespace, err)
		}
	}
	t := k.cfg.Translator
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
func (k *Keeper) kind(host kubernetes.Interface, removed *copies.Removed) copies.Kind[*corev1.ConfigMap] {
	t := k.cfg.Translator
	namespace := t.Cluster().HostNamespace
	return copies.Kind[*corev1.ConfigMap]{
		Client: host.CoreV1().ConfigMaps(namespace),
		Seen:   k.view.Core().V1().ConfigMaps().Lister().ConfigMaps(namespace).Get, Removed: removed,
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
