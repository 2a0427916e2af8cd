// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package classes

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/queue"
)

const (
	// AnnotationHost marks a class that is the host's. Its value is the uid there.
	AnnotationHost = "portico.dev/host-class"
	workers        = 1
)

// object is a pointer to a class.
type object interface {
	comparable
	metav1.Object
	runtime.Object
}

type reader[T object] interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (T, error)
}

type client[T object] interface {
	reader[T]
	Create(ctx context.Context, class T, o metav1.CreateOptions) (T, error)
	Update(ctx context.Context, class T, o metav1.UpdateOptions) (T, error)
	Delete(ctx context.Context, name string, o metav1.DeleteOptions) error
}

// kind keeps the classes of one kind.
type kind[T object] struct {
	name     string // for people
	write    client[T]
	read     reader[T] // of the host
	informer func(informers.SharedInformerFactory) cache.SharedIndexInformer
	blank    func(metav1.ObjectMeta) T
	// fill gives a virtual class what the host's has, except for metadata.
	fill func(shown, host T)
	// frozen says whether two classes agree in what the API lets nobody change.
	frozen func(a, b T) bool
	// reserved says which names are never shown and never offered.
	reserved func(name string) bool

	inside  informers.SharedInformerFactory
	virtual cache.Store
	hosts   informers.SharedInformerFactory // nil when none is shown
	host    cache.Store
	shown   labels.Selector
	// synced are all sources, and hostSynced the host's.
	synced     []cache.InformerSynced
	hostSynced cache.InformerSynced
	queue      *queue.Queue[string]
}

func newKind[T object](cfg Config, shown labels.Selector, k kind[T]) (*kind[T], error) {
	k.queue = queue.New(strings.ReplaceAll(k.name, " ", "-"), nil, k.reconcile)
	k.inside, k.virtual = cfg.Informers, k.informer(cfg.Informers).GetStore()
	if _, err := k.listen(cfg.Informers); err != nil {
		return nil, err
	}
	if shown == nil {
		return &k, nil
	}
	// What a cluster has pushed is its tenant's own, and no class of the host's for others.
	pushed, err := labels.NewRequirement(rewrite.LabelHostNamespace, selection.DoesNotExist, nil)
	if err != nil {
		return nil, fmt.Errorf("select each %s: %w", k.name, err)
	}
	shown = shown.Add(*pushed)
	k.shown = shown
	k.hosts = informers.NewSharedInformerFactoryWithOptions(cfg.Host, 0,
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = shown.String() }),
		informers.WithTransform(lean))
	k.host = k.informer(k.hosts).GetStore()
	k.hostSynced, err = k.listen(k.hosts)
	return &k, err
}

func (k *kind[T]) listen(source informers.SharedInformerFactory) (cache.InformerSynced, error) {
	events, err := k.informer(source).AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    k.enqueue,
		UpdateFunc: func(_, obj any) { k.enqueue(obj) },
		DeleteFunc: k.enqueue,
	})
	if err != nil {
		return nil, fmt.Errorf("listen to each %s: %w", k.name, err)
	}
	k.synced = append(k.synced, events.HasSynced)
	return events.HasSynced, nil
}

// lean keeps what nobody here reads out of memory.
func lean(obj any) (any, error) {
	if class, ok := obj.(metav1.Object); ok {
		class.SetManagedFields(nil)
		class.SetAnnotations(nil)
	}
	return obj, nil
}

func (k *kind[T]) enqueue(obj any) {
	if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj); err == nil {
		k.queue.Add(key)
	}
}

func (k *kind[T]) observe(ctx context.Context) {
	if k.hosts == nil {
		return
	}
	k.hosts.Start(ctx.Done())
	<-ctx.Done()
	k.hosts.Shutdown()
}

func (k *kind[T]) run(ctx context.Context) {
	k.inside.Start(ctx.Done())
	if cache.WaitForCacheSync(ctx.Done(), k.synced...) {
		k.queue.Run(ctx, workers)
	}
}

// offers says whether the class of that name, which the door's admission has found, is the host's. A tenant's own under the same
// name is not.
func (k *kind[T]) offers(ctx context.Context, name string) (bool, error) {
	if k.reserved(name) {
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
		return false, fmt.Errorf("%s %q: %w", k.name, name, rewrite.ErrNoClass) // what is shown is about to go
	}
	return true, nil
}

// owned says whether there is a virtual class of that name, and whether it is the tenant's own.
func (k *kind[T]) owned(ctx context.Context, name string) (exists, own bool, err error) {
	class, exists, err := find(ctx, k.virtual, k.write, name)
	if err != nil {
		return false, false, fmt.Errorf("get virtual %s %q: %w", k.name, name, err)
	}
	return exists, exists && !mirrored(class), nil
}

// onHost says whether the host offers a class. It asks for what the list does not have: another replica may have shown a class
// that this one has not heard of.
func (k *kind[T]) onHost(ctx context.Context, name string) (bool, error) {
	if k.hosts == nil {
		return false, nil
	}
	if !k.hostSynced() && !cache.WaitForCacheSync(ctx.Done(), k.hostSynced) {
		return false, context.Cause(ctx)
	}
	class, exists, err := find(ctx, k.host, k.read, name)
	if err != nil {
		return false, fmt.Errorf("get host %s %q: %w", k.name, name, err)
	}
	return exists && k.shown.Matches(labels.Set(class.GetLabels())), nil
}

// find looks into a store, and then asks.
func find[T object](ctx context.Context, store cache.Store, live reader[T], name string) (T, bool, error) {
	if class, ok := get[T](store, name); ok {
		return class, true, nil
	}
	class, err := live.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return class, false, nil
	}
	return class, err == nil, err
}

// get returns what a store has under a name; no store has nothing.
func get[T object](store cache.Store, name string) (class T, ok bool) {
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
	if k.reserved(name) {
		return 0, nil
	}
	shown, exists := get[T](k.virtual, name)
	host, offered := get[T](k.host, name)
	switch {
	case exists && !mirrored(shown):
		return 0, nil // the tenant's own
	case offered && exists:
		return 0, k.update(ctx, shown, host)
	case offered:
		return 0, k.create(ctx, host)
	case exists:
		return 0, k.remove(ctx, shown)
	}
	return 0, nil
}

// view returns shown, which has a name at least, as the host has it.
func (k *kind[T]) view(shown, host T) T {
	out := shown.DeepCopyObject().(T)
	own := map[string]string{}
	for key, value := range host.GetLabels() {
		if !strings.HasPrefix(key, rewrite.Prefix) {
			own[key] = value
		}
	}
	annotations := maps.Clone(shown.GetAnnotations())
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[AnnotationHost] = string(host.GetUID())
	out.SetLabels(own)
	out.SetAnnotations(annotations)
	k.fill(out, host)
	return out
}

func (k *kind[T]) create(ctx context.Context, host T) error {
	_, err := k.write.Create(ctx, k.view(k.blank(metav1.ObjectMeta{Name: host.GetName()}), host), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil // The informer is behind: its event brings this key back.
	}
	if err != nil {
		return fmt.Errorf("create %s %q: %w", k.name, host.GetName(), err)
	}
	klog.FromContext(ctx).V(2).Info("Created class", "kind", k.name, "class", host.GetName())
	return nil
}

// update changes what may change of a class; for what may not, it is made anew.
func (k *kind[T]) update(ctx context.Context, shown, host T) error {
	want := k.view(shown, host)
	if equality.Semantic.DeepEqual(want, shown) {
		return nil
	}
	if !k.frozen(want, shown) {
		return k.remove(ctx, shown) // Its event brings this key back.
	}
	if _, err := k.write.Update(ctx, want, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("update %s %q: %w", k.name, host.GetName(), err)
	}
	return nil
}

// remove deletes a class. The precondition protects one that was made anew under this name since the informer saw it.
func (k *kind[T]) remove(ctx context.Context, shown T) error {
	if shown.GetDeletionTimestamp() != nil {
		return nil
	}
	err := k.write.Delete(ctx, shown.GetName(), metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(shown.GetUID()))})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s %q: %w", k.name, shown.GetName(), err)
	}
	klog.FromContext(ctx).V(2).Info("Deleted class", "kind", k.name, "class", shown.GetName())
	return nil
}
