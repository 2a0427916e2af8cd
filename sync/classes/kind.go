// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package classes

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/mirror"
	"portico.dev/portico/sync/internal/queue"
	"portico.dev/portico/sync/kinds"
)

const (
	// AnnotationHost marks a class that shows one of the host. Its value is the
	// uid there.
	AnnotationHost = "portico.dev/host-class"
	workers        = 1
)

type reader[T kinds.Object] interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (T, error)
}

// kind keeps the classes of one kind.
type kind[T kinds.Object] struct {
	kinds.Pulled[T]

	write kinds.Client[T]
	read  reader[T] // of the host

	inside  informers.SharedInformerFactory
	virtual cache.Store
	outside informers.SharedInformerFactory // of the host; nil when no class is shown
	host    cache.Store
	chosen  labels.Selector // of the host's classes
	mirror  mirror.Kind[T]

	hostSynced cache.InformerSynced
	loop       *queue.Loop[string]
}

func newKind[T kinds.Object](cfg Config, chosen labels.Selector, pulled kinds.Pulled[T]) (*kind[T], error) {
	k := &kind[T]{Pulled: pulled, write: pulled.Client(cfg.Virtual), read: pulled.Client(cfg.Host)}
	k.mirror = mirror.Kind[T]{
		Noun: k.Noun, Client: k.write, Next: k.next,
		Mirrored: func(shown T) bool { return mirrored(shown) },
		Fixed:    func(shown, want T) bool { return !k.Frozen(shown, want) },
	}
	k.loop = queue.NewLoop(strings.ReplaceAll(k.Noun, " ", "-"), nil, k.reconcile)
	k.inside, k.virtual = cfg.Informers, k.Informer(cfg.Informers).GetStore()
	if err := k.listen(cfg.Informers); err != nil || chosen == nil {
		return k, err
	}
	// A class that a cluster has pushed is its tenant's own, and not one of the
	// host's for others.
	pushed, err := labels.NewRequirement(rewrite.LabelHostNamespace, selection.DoesNotExist, nil)
	if err != nil {
		return nil, fmt.Errorf("select each %s: %w", k.Noun, err)
	}
	chosen = chosen.Add(*pushed)
	k.chosen = chosen
	k.outside = informers.NewSharedInformerFactoryWithOptions(cfg.Host, 0,
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = chosen.String() }),
		informers.WithTransform(k.lean))
	k.host, k.hostSynced = k.Informer(k.outside).GetStore(), k.Informer(k.outside).HasSynced
	return k, k.listen(k.outside)
}

func (k *kind[T]) listen(source informers.SharedInformerFactory) error {
	return queue.Listen(k.loop, k.Noun, k.Informer(source), queue.Each(func(class T) { k.loop.Add(class.GetName()) }))
}

// lean drops the parts of a class that are not read here.
func (k *kind[T]) lean(obj any) (any, error) {
	if class, ok := obj.(metav1.Object); ok {
		class.SetManagedFields(nil)
		class.SetAnnotations(k.shownAnnotations(class))
	}
	return obj, nil
}

// shownAnnotations are those of a host class that are shown.
func (k *kind[T]) shownAnnotations(class metav1.Object) map[string]string {
	all := map[string]string{}
	for _, key := range k.Annotations {
		if value, ok := class.GetAnnotations()[key]; ok {
			all[key] = value
		}
	}
	return all
}

func (k *kind[T]) observed() informers.SharedInformerFactory { return k.outside }

func (k *kind[T]) run(ctx context.Context) error { return k.loop.Run(ctx, workers, k.inside) }

// offers reports whether the class of that name, which the door's admission has
// found, is the host's. A tenant's own under the same name is not.
func (k *kind[T]) offers(ctx context.Context, name string) (bool, error) {
	if k.Reserved(name) {
		return false, nil
	}
	exists, own, err := k.owned(ctx, name)
	if err != nil || own {
		return false, err
	}
	offered := false
	if exists {
		if offered, err = k.onHost(ctx, name); err != nil {
			return false, err
		}
	}
	if !offered {
		return false, fmt.Errorf("%s %q: %w", k.Noun, name, rewrite.ErrNoClass) // the shown class is about to go
	}
	return true, nil
}

// owned reports whether there is a virtual class of that name, and whether it is
// the tenant's own.
func (k *kind[T]) owned(ctx context.Context, name string) (exists, own bool, err error) {
	class, exists, err := find(ctx, k.virtual, k.write, name)
	if err != nil {
		return false, false, fmt.Errorf("get virtual %s %q: %w", k.Noun, name, err)
	}
	return exists, exists && !mirrored(class), nil
}

// onHost reports whether the host offers a class. It asks for a class that the
// list does not have: another replica may have shown one that this replica has
// not heard of.
func (k *kind[T]) onHost(ctx context.Context, name string) (bool, error) {
	if k.outside == nil {
		return false, nil
	}
	if err := k.synced(ctx); err != nil {
		return false, err
	}
	class, exists, err := find(ctx, k.host, k.read, name)
	if err != nil {
		return false, fmt.Errorf("get host %s %q: %w", k.Noun, name, err)
	}
	return exists && k.chosen.Matches(labels.Set(class.GetLabels())), nil
}

// synced waits until the host's list is here.
func (k *kind[T]) synced(ctx context.Context) error {
	if !k.hostSynced() && !cache.WaitForCacheSync(ctx.Done(), k.hostSynced) {
		return context.Cause(ctx)
	}
	return nil
}

// mayName reports whether the host has no class of that name that is not chosen,
// or, without a limit, none that is the copy of some cluster's. Where no class is
// shown the host is not asked: any name will do, or none with a limit.
func (k *kind[T]) mayName(ctx context.Context, name string, limited bool) (bool, error) {
	if k.outside == nil {
		return !limited, nil
	}
	class, exists, err := find(ctx, k.host, k.read, name)
	if err != nil {
		return false, fmt.Errorf("get host %s %q: %w", k.Noun, name, err)
	}
	return !exists || !limited && !isCopy(class) || k.chosen.Matches(labels.Set(class.GetLabels())), nil
}

// find looks into a store, and then asks.
func find[T kinds.Object](ctx context.Context, store cache.Store, live reader[T], name string) (T, bool, error) {
	if class, ok := get[T](store, name); ok {
		return class, true, nil
	}
	class, err := live.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return class, false, nil
	}
	return class, err == nil, err
}

// get returns the class that a store has under a name; no store has none.
func get[T kinds.Object](store cache.Store, name string) (class T, ok bool) {
	if store == nil {
		return class, false
	}
	obj, exists, err := store.GetByKey(name)
	if err != nil || !exists {
		return class, false
	}
	class, ok = obj.(T)
	return class, ok
}

func mirrored(class metav1.Object) bool { return class.GetAnnotations()[AnnotationHost] != "" }

// reconcile shows, changes or removes one class.
func (k *kind[T]) reconcile(ctx context.Context, name string) (time.Duration, error) {
	if k.Reserved(name) {
		return 0, nil
	}
	shown, exists := get[T](k.virtual, name)
	host, offered := get[T](k.host, name)
	if exists && !mirrored(shown) {
		return 0, nil // the tenant's own
	}
	var want T
	if offered {
		want = k.view(host)
	}
	return 0, k.mirror.Show(ctx, shown, want)
}

// view returns a host class as a new one inside.
func (k *kind[T]) view(host T) T {
	own := map[string]string{}
	for key, value := range host.GetLabels() {
		if !strings.HasPrefix(key, rewrite.Prefix) {
			own[key] = value
		}
	}
	annotations := k.shownAnnotations(host)
	annotations[AnnotationHost] = string(host.GetUID())
	out := k.Blank(metav1.ObjectMeta{Name: host.GetName(), Labels: own, Annotations: annotations})
	k.Fill(out, host)
	return out
}

// next returns shown as want is. Annotations that the tenant added stay.
func (k *kind[T]) next(shown, want T) T {
	out := shown.DeepCopyObject().(T)
	annotations := maps.Clone(shown.GetAnnotations())
	for _, key := range k.Annotations {
		delete(annotations, key)
	}
	maps.Copy(annotations, want.GetAnnotations())
	out.SetLabels(want.GetLabels())
	out.SetAnnotations(annotations)
	k.Fill(out, want)
	return out
}
