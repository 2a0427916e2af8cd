// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package custom

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/copies"
	"portico.dev/portico/sync/internal/hostview"
	"portico.dev/portico/sync/internal/queue"
	"portico.dev/portico/sync/internal/room"
	"portico.dev/portico/sync/kinds"
)

const (
	// workers bounds the objects that are written at the same time.
	workers = 4
	// whenFull is how long an object waits for room before it is looked at again.
	whenFull = time.Minute
	// reason is that of Events about objects that the host does not have.
	reason = "NotOnHost"
	// byReference indexes virtual objects by the Secrets and ConfigMaps they name.
	byReference = "portico.dev/by-reference"
)

// objects copies the objects of one version.
type objects struct {
	cfg      *Config
	resource schema.GroupVersionResource

	inside, view cache.SharedIndexInformer
	secrets      cache.SharedIndexInformer // virtual ones
	returned     informers.SharedInformerFactory
	copies       copies.Kind[object]
	loop         *queue.Loop[types.NamespacedName]
	room         *room.Room

	mu sync.Mutex
	// shown are the statuses that were written inside last. One that somebody there
	// has changed since is theirs until the host's changes.
	shown map[types.NamespacedName]any
}

func newObjects(cfg *Config, resource schema.GroupVersionResource) (*objects, error) {
	t := cfg.Translator
	namespace := t.Cluster().HostNamespace
	o := &objects{
		cfg: cfg, resource: resource, shown: map[types.NamespacedName]any{},
		inside:  informer(cfg.Virtual.Objects, resource, metav1.NamespaceAll, ""),
		view:    informer(cfg.Host.Objects, resource, namespace, t.ScopeSelector().String()),
		secrets: cfg.Informers.Core().V1().Secrets().Informer(),
	}
	var err error
	if o.returned, err = hostview.NewComposedFactory(cfg.Host.Core, t, hostview.ReturnedSecret); err != nil {
		return nil, err
	}
	o.room = room.New(cfg.Most, func() (names []string) {
		for _, key := range o.view.GetStore().ListKeys() {
			if _, name, err := cache.SplitMetaNamespaceKey(key); err == nil {
				names = append(names, name)
			}
		}
		return names
	})
	o.copies = copies.Kind[object]{
		Client:  client{cfg.Host.Objects.Resource(resource).Namespace(namespace)},
		Seen:    func(name string) (object, error) { return kinds.Stored[object](o.view.GetStore(), namespace, name) },
		Removed: &copies.Removed{},
		Ours:    o.ours,
		Rules:   copies.Rules[object]{Same: sameApplied, Patch: changesOfApplied, Metadata: metadataChanges(cfg.Kind)},
	}
	if err := o.inside.AddIndexers(cache.Indexers{byReference: func(obj any) (keys []string, _ error) {
		if v, ok := obj.(object); ok && cfg.selects(v) {
			for _, r := range rewrite.CustomReferences(&cfg.Kind, v) {
				keys = append(keys, referenceKey(r.Kind, v.GetNamespace(), r.Name))
			}
			for _, name := range rewrite.CustomReturned(&cfg.Kind, v) {
				keys = append(keys, referenceKey(returnedKind, v.GetNamespace(), name))
			}
		}
		return keys, nil
	}}); err != nil {
		return nil, err
	}
	o.loop = queue.NewLoop(resource.GroupResource().String(), cfg.Clock, o.reconcile)
	return o, o.listen()
}

func (o *objects) listen() error {
	return errors.Join(
		queue.Listen(o.loop, o.resource.Resource, o.inside, queue.On[object]{
			Added: o.changed, Deleted: o.changed,
			Changed: func(old, v object) {
				o.named(old)
				o.changed(v)
				if !slices.Equal(rewrite.CustomReturned(&o.cfg.Kind, old), rewrite.CustomReturned(&o.cfg.Kind, v)) {
					o.touchUnused(v.GetNamespace())
				}
			},
		}),
		queue.Listen(o.loop, "pushed "+o.resource.Resource, o.view, queue.Each(func(host object) {
			if namespace, name, err := o.cfg.Translator.Identify(o.cfg.Kind.Noun(), host); err == nil {
				o.loop.Add(types.NamespacedName{Namespace: namespace, Name: name})
			}
		})),
		o.listenToReturned(),
	)
}

// changed is about a virtual object, and about the objects that it names.
func (o *objects) changed(v object) {
	o.named(v)
	o.loop.Add(types.NamespacedName{Namespace: v.GetNamespace(), Name: v.GetName()})
}

func (o *objects) named(v object) {
	if o.cfg.Named != nil {
		o.cfg.Named(v.GetNamespace(), rewrite.CustomReferences(&o.cfg.Kind, v))
	}
}

func (o *objects) uses(kind, namespace, name string) bool {
	keys, err := o.inside.GetIndexer().IndexKeys(byReference, referenceKey(kind, namespace, name))
	return err == nil && len(keys) > 0
}

func referenceKey(kind, namespace, name string) string { return kind + "/" + namespace + "/" + name }

func (o *objects) run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for _, i := range []cache.SharedIndexInformer{o.inside, o.view} {
		running.Go(func() { i.RunWithContext(ctx) })
	}
	return o.loop.Run(ctx, workers, o.cfg.Informers, o.returned)
}

func (o *objects) ours(host object) bool {
	_, _, err := o.cfg.Translator.Identify(o.cfg.Kind.Noun(), host)
	return err == nil
}

// reconcile brings the copy of one virtual object in step.
func (o *objects) reconcile(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	virtual, err := kinds.Stored[object](o.inside.GetStore(), key.Namespace, key.Name)
	if err != nil && !apierrors.IsNotFound(err) {
		return 0, err
	}
	if err != nil || virtual.GetDeletionTimestamp() != nil || !o.cfg.selects(virtual) {
		return 0, o.remove(ctx, key)
	}
	want, err := o.toHost(ctx, virtual)
	if err != nil {
		// A copy that is there stays: the tenant has changed a good object into a bad
		// one, and sees the reason.
		o.report(virtual, "this object is not for the host of this cluster: "+err.Error())
		return 0, nil
	}
	if !o.copies.Known(want.GetName()) && !o.room.Take(want.GetName()) {
		o.report(virtual, fmt.Sprintf("the host has %d %s of this cluster, which is the most that it can have", o.room.Most(), o.resource.Resource))
		return whenFull, nil
	}
	if _, err := o.copies.Write(ctx, want); err != nil {
		o.room.Free(want.GetName())
		if copies.Refused(err) {
			o.report(virtual, "the host of this cluster does not take it: "+o.hostReason(err, want, key))
		}
		return 0, fmt.Errorf("%s %s on the host: %w", o.cfg.Kind.Noun(), key, err)
	}
	if seen, ok := o.copies.Look(want.GetName()); ok && o.cfg.StatusBack {
		if err := o.show(ctx, virtual, seen); err != nil && !apierrors.IsNotFound(err) {
			return 0, fmt.Errorf("show the status of %s %s: %w", o.cfg.Kind.Noun(), key, err)
		}
	}
	return o.bringSecrets(ctx, virtual)
}

// toHost is the copy that an object is to have. The error is for the tenant.
func (o *objects) toHost(ctx context.Context, virtual object) (object, error) {
	copied, err := o.cfg.Translator.BeginCustom(&o.cfg.Kind, virtual)
	if err != nil {
		return nil, err
	}
	if o.cfg.Rewriter != nil {
		if copied.Object, err = o.cfg.Rewriter.Rewrite(ctx, virtual, copied.Object); err != nil {
			return nil, err
		}
	}
	return copied.Seal()
}

// hostReason is the host's refusal as the tenant may read it: of an invalid object
// with the reasons, in virtual names.
func (o *objects) hostReason(err error, want object, key types.NamespacedName) string {
	if !apierrors.IsInvalid(err) {
		return string(apierrors.ReasonForError(err))
	}
	return o.cfg.Translator.TextToVirtual(err.Error(), map[string]rewrite.VirtualRef{want.GetName(): {Namespace: key.Namespace, Name: key.Name}})
}

func (o *objects) report(virtual object, why string) {
	o.cfg.Events.Event(virtual, corev1.EventTypeWarning, reason, why)
}

// show brings the host's status inside when it has changed.
func (o *objects) show(ctx context.Context, virtual, host object) error {
	status, err := o.cfg.Translator.CustomStatus(&o.cfg.Kind, host, virtual)
	if err != nil || status == nil {
		return err
	}
	key := types.NamespacedName{Namespace: virtual.GetNamespace(), Name: virtual.GetName()}
	o.mu.Lock()
	last, known := o.shown[key]
	o.mu.Unlock()
	if equality.Semantic.DeepEqual(virtual.Object["status"], status) || known && equality.Semantic.DeepEqual(last, status) {
		return nil
	}
	shown := virtual.DeepCopy()
	shown.Object["status"] = status
	if err := writeStatus(ctx, o.cfg.Virtual.Objects.Resource(o.resource).Namespace(key.Namespace), shown); err != nil {
		return err
	}
	o.mu.Lock()
	o.shown[key] = status
	o.mu.Unlock()
	return nil
}

func (o *objects) remove(ctx context.Context, key types.NamespacedName) error {
	o.mu.Lock()
	delete(o.shown, key)
	o.mu.Unlock()
	name := o.cfg.Translator.Name(key.Namespace, key.Name)
	removed, err := o.copies.RemoveSeen(ctx, name)
	if err != nil {
		return fmt.Errorf("remove %s %s from the host: %w", o.cfg.Kind.Noun(), key, err)
	}
	if removed {
		o.room.Free(name)
		klog.FromContext(ctx).V(4).Info("Deleted a copy on the host", "kind", o.cfg.Kind.Noun(), "virtualObject", key)
	}
	return o.removeReturned(ctx, key.Namespace)
}

// sameApplied compares with the content that the copy was given: one that a
// controller of the host has changed since is in step.
func sameApplied(want, host object) bool {
	applied, ok := rewrite.CustomApplied(host)
	wanted, _ := rewrite.CustomApplied(want)
	return ok && equality.Semantic.DeepEqual(wanted, applied)
}

// changesOfApplied is the merge patch of that which the tenant has changed. A copy
// without the record gets everything.
func changesOfApplied(want, host object) map[string]any {
	wanted := rewrite.CustomContent(want)
	applied, ok := rewrite.CustomApplied(host)
	if !ok {
		applied = rewrite.CustomContent(host)
	}
	return mergePatch(applied, wanted)
}

// mergePatch leads from one content to another (RFC 7386).
func mergePatch(from, to map[string]any) map[string]any {
	patch := map[string]any{}
	for key := range from {
		if _, stays := to[key]; !stays {
			patch[key] = nil
		}
	}
	for key, value := range to {
		old, ok := from[key].(map[string]any)
		next, isMap := value.(map[string]any)
		switch {
		case ok && isMap:
			if below := mergePatch(old, next); len(below) > 0 {
				patch[key] = below
			}
		case !equality.Semantic.DeepEqual(from[key], value) || from[key] == nil:
			patch[key] = value
		}
	}
	return patch
}

// metadataChanges brings our keys, and those that pass, in step. All others on the
// host are the host's.
func metadataChanges(k rewrite.CustomKind) func(want, host metav1.Object) (labels, annotations map[string]any) {
	return func(want, host metav1.Object) (labels, annotations map[string]any) {
		return changesOf(want.GetLabels(), host.GetLabels(), k.Labels),
			changesOf(want.GetAnnotations(), host.GetAnnotations(), k.Annotations)
	}
}

func changesOf(want, host map[string]string, passing []string) map[string]any {
	patch := copies.Missing(want, host)
	for _, key := range passing {
		_, wanted := want[key]
		if _, there := host[key]; there && !wanted {
			patch[key] = nil
		}
	}
	return patch
}
