// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package push

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/copies"
	"portico.dev/portico/sync/internal/queue"
	"portico.dev/portico/sync/kinds"
)

// kind has the copies of one kind. Their writer holds the lock of the
// reference.
type kind interface {
	// push brings the copy in step with the virtual object, which is read from the
	// API server if live is set and from the informer otherwise. Without a virtual
	// object there is no copy; that is never believed of the informer. It reports
	// whether it made a copy where there was none.
	push(ctx context.Context, r reference, live bool) (made bool, err error)
	// follow brings a copy that exists in step, and makes none: the view may have
	// one that was removed a moment ago.
	follow(ctx context.Context, r reference) error
	// remove deletes the copy if the view has one.
	remove(ctx context.Context, r reference) error
	// drop deletes the copy, also one that the view does not have yet.
	drop(ctx context.Context, r reference) error
	// followFormer is follow for a copy that an earlier version made under another
	// name, where pods of then mount it.
	followFormer(ctx context.Context, r reference) error
	// vacant returns a Status if a host object that is no copy has the name: a pod
	// that refers to it would mount that.
	vacant(ctx context.Context, r reference) error
	// known reports whether the view has a copy.
	known(r reference) bool
	// as returns the same kind, written with another client of the host.
	as(host kubernetes.Interface) kind
	// listen has the loop handle the references of virtual objects that are
	// concerned, and those of all copies.
	listen(loop *queue.Loop[reference], concerned func(reference) bool) error
}

// kindsOf are the pushed kinds that pods name, by the kind of the reference.
func kindsOf(cfg Config, view informers.SharedInformerFactory) map[string]kind {
	all := map[string]kind{}
	add(all, cfg, view, kinds.PushedSecrets)
	add(all, cfg, view, kinds.PushedConfigMaps)
	return all
}

func add[T metav1.Object](all map[string]kind, cfg Config, view informers.SharedInformerFactory, row kinds.Pushed[T]) {
	all[row.Kind] = &kindCopies[T]{
		Pushed: row, translator: cfg.Translator, virtual: cfg.Virtual,
		informed: row.Informer(cfg.Informers), view: row.Informer(view),
		copies: row.Copies(cfg.Translator, cfg.Host, view),
	}
}

// kindCopies implements kind with a row of the table.
type kindCopies[T metav1.Object] struct {
	kinds.Pushed[T]
	translator *rewrite.Translator
	virtual    kubernetes.Interface
	informed   cache.SharedIndexInformer // virtual
	view       cache.SharedIndexInformer // host, content replaced by its digest
	copies     copies.Kind[T]
}

func (k *kindCopies[T]) as(host kubernetes.Interface) kind {
	other := *k
	other.copies.Client = k.Client(host, k.translator.Cluster().HostNamespace)
	return &other
}

// of returns how the copy of one virtual object is kept.
func (k *kindCopies[T]) of(r reference) *copies.Kind[T] {
	of := k.copies
	of.Ours = func(host T) bool { return k.ours(r, host) }
	return &of
}

// ours reports whether a host object is the copy of exactly this virtual object.
func (k *kindCopies[T]) ours(r reference, host T) bool {
	return k.translator.Is(host, k.Kind, r.namespace, r.name)
}

func (k *kindCopies[T]) push(ctx context.Context, r reference, live bool) (made bool, err error) {
	want, exists, err := k.want(ctx, r, live)
	if err != nil {
		return false, err
	}
	if !exists {
		return false, k.remove(ctx, r)
	}
	effect, err := k.of(r).Write(ctx, want)
	if effect == copies.Created {
		klog.FromContext(ctx).V(4).Info("Pushed object", "kind", k.Kind, "virtualObject", klog.KRef(r.namespace, r.name), "hostObject", klog.KObj(want))
	}
	return effect == copies.Created, k.inVirtualTerms(r, err)
}

func (k *kindCopies[T]) follow(ctx context.Context, r reference) error {
	want, exists, err := k.want(ctx, r, false)
	if err != nil {
		return err
	}
	if !exists {
		return k.remove(ctx, r)
	}
	_, err = k.of(r).Follow(ctx, want)
	return k.inVirtualTerms(r, err)
}

// want returns the copy that a virtual object is to have, if that exists.
func (k *kindCopies[T]) want(ctx context.Context, r reference, live bool) (want T, exists bool, err error) {
	virtual, err := k.read(ctx, r, live)
	if apierrors.IsNotFound(err) {
		return want, false, nil
	}
	if err != nil {
		return want, false, err
	}
	if want, err = k.ToHost(k.translator, virtual, rewrite.Inputs{}); err != nil {
		return want, false, fmt.Errorf("translate %s: %w", r.key(), err)
	}
	return want, true, nil
}

func (k *kindCopies[T]) read(ctx context.Context, r reference, live bool) (T, error) {
	if !live {
		// An informer that is behind, or that has not begun, must not cost a
		// running pod its CA bundle.
		if virtual, err := kinds.Stored[T](k.informed.GetStore(), r.namespace, r.name); !apierrors.IsNotFound(err) {
			return virtual, err
		}
	}
	return k.Client(k.virtual, r.namespace).Get(ctx, r.name, metav1.GetOptions{})
}

func (k *kindCopies[T]) remove(ctx context.Context, r reference) error {
	if !k.known(r) {
		return nil
	}
	return k.drop(ctx, r)
}

func (k *kindCopies[T]) drop(ctx context.Context, r reference) error {
	for _, name := range k.names(r) {
		removed, err := k.of(r).Remove(ctx, name)
		if err != nil {
			return err
		}
		if removed {
			klog.FromContext(ctx).V(4).Info("Removed pushed object", "kind", k.Kind, "namespace", r.namespace, "name", r.name)
		}
	}
	return nil
}

func (k *kindCopies[T]) known(r reference) bool {
	return slices.ContainsFunc(k.names(r), k.copies.Known)
}

// names are the host names that the copy can have: that of today first.
func (k *kindCopies[T]) names(r reference) []string {
	return k.translator.HostNames(k.Kind, r.namespace, r.name)
}

// inVirtualTerms returns a Status that the tenant understands for an object of
// somebody else that has the copy's name.
func (k *kindCopies[T]) inVirtualTerms(r reference, err error) error {
	if errors.Is(err, copies.ErrForeign) {
		return k.taken(r)
	}
	return err
}

func (k *kindCopies[T]) taken(r reference) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: k.Resource}, r.name,
		errors.New("on the host of this cluster its name belongs to an object that is not of the cluster; use another name"))
}

func (k *kindCopies[T]) listen(loop *queue.Loop[reference], concerned func(reference) bool) error {
	return errors.Join(
		queue.Listen(loop, k.Resource, k.informed, queue.Each(func(virtual T) {
			r := reference{kind: k.Kind, namespace: virtual.GetNamespace(), name: virtual.GetName()}
			// Most objects are neither named by a pod nor on the host.
			if concerned(r) || k.known(r) {
				loop.Add(r)
			}
		})),
		// Copies may be left over, changed or gone.
		queue.Listen(loop, "pushed "+k.Resource, k.view, queue.Each(func(host T) {
			if namespace, name, ours := k.ToVirtual(k.translator, host); ours {
				loop.Add(reference{kind: k.Kind, namespace: namespace, name: name})
			}
		})),
	)
}
