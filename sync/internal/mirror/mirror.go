// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
)

// Object is a pointer to an object of the API; nil is none.
type Object interface {
	comparable
	metav1.Object
}

// Client is the part of a typed client that writes objects.
type Client[T Object] interface {
	Create(ctx context.Context, obj T, o metav1.CreateOptions) (T, error)
	Update(ctx context.Context, obj T, o metav1.UpdateOptions) (T, error)
	Delete(ctx context.Context, name string, o metav1.DeleteOptions) error
}

// Kind is how objects of one kind are shown.
type Kind[T Object] struct {
	// Noun is the kind in errors and logs, such as "volume".
	Noun string
	// Client writes to the virtual cluster.
	Client Client[T]
	// Mirrored reports whether a virtual object shows one of the host. Any other
	// is the tenant's own.
	Mirrored func(shown T) bool
	// Fixed reports whether shown can never become want, because the API does
	// not let it change or it shows another host object. It is then deleted, and
	// created again when the deletion is seen. Nil means never.
	Fixed func(shown, want T) bool
	// Next returns shown, a copy of it, with all that follows the host as in
	// want. The fields that it leaves alone are the tenant's.
	Next func(shown, want T) T
	// Settle is called with an object that is there and as Next says, if set.
	Settle func(ctx context.Context, shown T) error
}

// Show makes want of shown. Without a want, a mirrored object is removed.
func (k *Kind[T]) Show(ctx context.Context, shown, want T) error {
	var none T
	switch {
	case shown == none && want == none:
		return nil
	case shown == none:
		created, err := k.Create(ctx, want)
		if err != nil || created == none {
			return err
		}
		return k.settle(ctx, created)
	case !k.Mirrored(shown):
		return nil
	case want == none, k.Fixed != nil && k.Fixed(shown, want):
		return k.Remove(ctx, shown)
	}
	return k.update(ctx, shown, want)
}

// Create makes an object, and returns it as the API has it. It returns nil if
// there is one under its name already: the informer is behind, and its event
// brings the object to the caller again.
func (k *Kind[T]) Create(ctx context.Context, want T) (created T, err error) {
	var none T
	created, err = k.Client.Create(ctx, want, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("create %s %q: %w", k.Noun, want.GetName(), err)
	}
	klog.FromContext(ctx).V(2).Info("Created mirrored object", "kind", k.Noun, "name", want.GetName())
	return created, nil
}

func (k *Kind[T]) update(ctx context.Context, shown, want T) error {
	next := k.Next(shown, want)
	if !equality.Semantic.DeepEqual(next, shown) {
		updated, err := k.Client.Update(ctx, next, metav1.UpdateOptions{})
		if err != nil {
			return fmt.Errorf("update %s %q: %w", k.Noun, want.GetName(), err)
		}
		next = updated
	}
	return k.settle(ctx, next)
}

func (k *Kind[T]) settle(ctx context.Context, shown T) error {
	if k.Settle == nil {
		return nil
	}
	return k.Settle(ctx, shown)
}

// Remove deletes a shown object, unless it is going already. The precondition
// protects another that was made under its name since the informer saw it.
func (k *Kind[T]) Remove(ctx context.Context, shown T) error {
	if shown.GetDeletionTimestamp() != nil {
		return nil
	}
	err := k.Client.Delete(ctx, shown.GetName(), metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(shown.GetUID()))})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s %q: %w", k.Noun, shown.GetName(), err)
	}
	klog.FromContext(ctx).V(2).Info("Deleted mirrored object", "kind", k.Noun, "name", shown.GetName())
	return nil
}
