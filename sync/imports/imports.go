// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"portico.dev/portico/sync/internal/mirror"
	"portico.dev/portico/sync/internal/queue"
)

const workers = 1

// Config says which objects of the host are shown, and where.
type Config struct {
	Virtual   kubernetes.Interface
	Informers informers.SharedInformerFactory // of the virtual cluster
	// Host may get, list and watch the objects of the sources.
	Host                kubernetes.Interface
	ConfigMaps, Secrets []Source
	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// Controller keeps shown ConfigMaps and Secrets in step with the host's.
type Controller struct {
	configMaps *importer[*corev1.ConfigMap]
	secrets    *importer[*corev1.Secret]
}

// New returns a Controller. It registers with the virtual informers, so it must be
// called before they are relied on.
func New(cfg Config) (*Controller, error) {
	ofConfigMaps, err := newImporter(&cfg, configMaps, cfg.ConfigMaps)
	if err != nil {
		return nil, err
	}
	ofSecrets, err := newImporter(&cfg, secrets, cfg.Secrets)
	return &Controller{configMaps: ofConfigMaps, secrets: ofSecrets}, err
}

// Run works until ctx ends. With several replicas, only the leader runs it.
func (c *Controller) Run(ctx context.Context) error {
	running, ctx := errgroup.WithContext(ctx)
	running.Go(func() error { return c.configMaps.run(ctx) })
	running.Go(func() error { return c.secrets.run(ctx) })
	return running.Wait()
}

// importer shows objects of one kind.
type importer[T mirror.Object] struct {
	cfg     *Config
	row     row[T]
	sources []*watched
	virtual cache.Store
	spaces  cache.Store // the virtual namespaces
	loop    *queue.Loop[types.NamespacedName]
}

// watched is a source with its own informers: they see its objects, and nothing else
// of the host namespace.
type watched struct {
	Source
	view  informers.SharedInformerFactory
	store cache.Store
}

func newImporter[T mirror.Object](cfg *Config, row row[T], sources []Source) (*importer[T], error) {
	i := &importer[T]{cfg: cfg, row: row, virtual: row.informer(cfg.Informers).GetStore()}
	namespaces := cfg.Informers.Core().V1().Namespaces().Informer()
	i.spaces = namespaces.GetStore()
	i.loop = queue.NewLoop("imported-"+row.resource, cfg.Clock, i.reconcile)
	errs := []error{
		queue.Listen(i.loop, row.resource, row.informer(cfg.Informers), queue.Each(func(obj T) {
			// Leftovers of sources that are no longer there are looked at, too.
			if key := keyOf(obj); mirrored(obj) || i.named(key) {
				i.loop.Add(key)
			}
		})),
		queue.Listen(i.loop, "namespaces", namespaces, queue.Each(func(n *corev1.Namespace) { i.enqueueIn(n.Name) })),
	}
	for _, s := range sources {
		w := &watched{Source: s}
		w.view = informers.NewSharedInformerFactoryWithOptions(cfg.Host, 0, informers.WithNamespace(s.Host.Namespace),
			informers.WithTweakListOptions(func(o *metav1.ListOptions) {
				if !s.all() {
					o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, s.Host.Name).String()
				}
			}))
		informer := row.informer(w.view)
		w.store = informer.GetStore()
		i.sources = append(i.sources, w)
		errs = append(errs, queue.Listen(i.loop, "host "+row.resource, informer, queue.Each(func(obj T) { i.loop.Add(s.shownAs(obj.GetName())) })))
	}
	return i, errors.Join(errs...)
}

func (i *importer[T]) run(ctx context.Context) error {
	var views []informers.SharedInformerFactory
	for _, s := range i.sources {
		views = append(views, s.view)
	}
	return i.loop.Run(ctx, workers, i.cfg.Informers, views...)
}

// named reports whether a source could show something under a virtual name.
func (i *importer[T]) named(key types.NamespacedName) bool {
	for _, s := range i.sources {
		if _, ok := s.of(key); ok {
			return true
		}
	}
	return false
}

// enqueueIn looks at all that is shown in a virtual namespace, which may just have
// been made.
func (i *importer[T]) enqueueIn(namespace string) {
	for _, s := range i.sources {
		if s.Virtual.Namespace != namespace {
			continue
		}
		for _, obj := range s.store.List() {
			if host, ok := obj.(T); ok {
				i.loop.Add(s.shownAs(host.GetName()))
			}
		}
	}
}

// reconcile shows, changes or removes one object.
func (i *importer[T]) reconcile(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	space, ok, err := i.spaces.GetByKey(key.Namespace)
	if n, is := space.(*corev1.Namespace); err != nil || !ok || !is || n.DeletionTimestamp != nil {
		return 0, err // its event comes when it is made
	}
	shown, want := get[T](i.virtual, key), i.wanted(key)
	of := mirror.Kind[T]{
		Noun: "imported object", Client: i.row.client(i.cfg.Virtual, key.Namespace),
		Mirrored: func(shown T) bool { return mirrored(shown) }, Fixed: i.row.fixed, Next: i.next,
	}
	return 0, of.Show(ctx, shown, want)
}

// wanted returns the object that is to be shown, or nil if none is.
func (i *importer[T]) wanted(key types.NamespacedName) (want T) {
	for _, s := range i.sources {
		name, ok := s.of(key)
		if !ok {
			continue
		}
		var none T
		host := get[T](s.store, types.NamespacedName{Namespace: s.Host.Namespace, Name: name})
		if host == none || !showable(host) {
			continue
		}
		out := i.row.blank(metav1.ObjectMeta{
			Namespace: key.Namespace, Name: key.Name, Annotations: map[string]string{AnnotationHost: string(host.GetUID())},
		})
		i.row.fill(out, host)
		return out
	}
	return want
}

// next returns shown with the content of want. Labels and annotations that the
// tenant added stay.
func (i *importer[T]) next(shown, want T) T {
	out := i.row.copied(shown)
	annotations := map[string]string{}
	for k, v := range shown.GetAnnotations() {
		annotations[k] = v
	}
	annotations[AnnotationHost] = want.GetAnnotations()[AnnotationHost]
	out.SetAnnotations(annotations)
	i.row.fill(out, want)
	return out
}

func keyOf(obj metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

// get returns the object that a store has under a name, or nil.
func get[T mirror.Object](store cache.Store, key types.NamespacedName) T {
	var none T
	obj, ok, err := store.GetByKey(key.String())
	if err != nil || !ok {
		return none
	}
	found, _ := obj.(T)
	return found
}
