// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package copies

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ErrForeign is returned, wrapped, when the host has an object under the wanted
// name that is not ours.
var ErrForeign = errors.New("an object with this name is not ours")

// Client is the part of a typed client that writes objects.
type Client[T any] interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (T, error)
	Create(ctx context.Context, obj T, o metav1.CreateOptions) (T, error)
	Update(ctx context.Context, obj T, o metav1.UpdateOptions) (T, error)
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, o metav1.PatchOptions, subresources ...string) (T, error)
	Delete(ctx context.Context, name string, o metav1.DeleteOptions) error
}

// Kind is how host objects of one kind are kept.
type Kind[T metav1.Object] struct {
	// Client writes to the host, in the cluster's host namespace if there is one.
	Client Client[T]
	// Seen returns an object from an informer, or any error if that has none. It
	// saves questions to the host; nil has no object.
	Seen func(name string) (T, error)
	// Ours reports whether a host object is ours under its name.
	Ours func(host T) bool
	// Same reports whether host has the content of want. It is not asked about
	// metadata. Nil means never.
	Same func(want, host T) bool
	// Metadata returns merge patches of the labels and annotations that host needs:
	// nil removes a key, and two empty patches mean that there is nothing to do. If
	// it is nil, host needs those that want has, and keeps any other.
	Metadata func(want, host metav1.Object) (labels, annotations map[string]any)
	// SameSeen is Same for an object of the informer, if that leaves content out.
	SameSeen func(want, seen T) bool
	// Fixed reports whether the API, or the object's owner, keeps host from ever
	// becoming want. It is then deleted and created again. Nil means never.
	Fixed func(want, host T) bool

	// Patch returns the merge patch that gives host the content of want, without
	// metadata.
	Patch func(want, host T) map[string]any
	// Update stands in for Patch where the operator's Role grants update: it
	// gives next, a copy of the host object, the content of want.
	Update func(want, host T) (next T)
}

// Write brings want to the host, and reports whether it created the object.
// Errors of the host are wrapped; ErrForeign is one of them.
func (k *Kind[T]) Write(ctx context.Context, want T) (created bool, err error) {
	if k.Seen != nil {
		same := k.SameSeen
		if same == nil {
			same = k.Same
		}
		if seen, err := k.Seen(want.GetName()); err == nil && k.inStep(want, seen, same) {
			return false, nil
		}
	}
	created, err = k.create(ctx, want)
	if !apierrors.IsAlreadyExists(err) {
		return created, err
	}
	old, err := k.Client.Get(ctx, want.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return k.create(ctx, want) // it went in between
	case err != nil:
		return false, fmt.Errorf("read: %w", err)
	case !k.Ours(old):
		return false, fmt.Errorf("create: %w", ErrForeign)
	case k.inStep(want, old, k.Same):
		return false, nil
	case old.GetDeletionTimestamp() != nil || k.Fixed != nil && k.Fixed(want, old):
		if err := k.delete(ctx, old); err != nil {
			return false, err
		}
		return k.create(ctx, want)
	case k.Update != nil:
		return false, k.update(ctx, want, old)
	default:
		return false, k.patch(ctx, want, old)
	}
}

// Remove deletes the host object of that name if it is there and ours, and
// reports whether it did.
func (k *Kind[T]) Remove(ctx context.Context, name string) (removed bool, err error) {
	// An informer may be behind; the decision is made on the object that is
	// there, and holds for that one only.
	old, err := k.Client.Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read: %w", err)
	case !k.Ours(old):
		return false, nil
	}
	return true, k.delete(ctx, old)
}

// RemoveSeen is Remove for an object that the informer has. Others cost no
// question: their event brings them to the caller again.
func (k *Kind[T]) RemoveSeen(ctx context.Context, name string) (removed bool, err error) {
	if !k.Known(name) {
		return false, nil
	}
	return k.Remove(ctx, name)
}

// Known reports whether the informer has an object of that name.
func (k *Kind[T]) Known(name string) bool {
	if k.Seen == nil {
		return false
	}
	_, err := k.Seen(name)
	return err == nil
}

func (k *Kind[T]) inStep(want, host T, same func(want, host T) bool) bool {
	if host.GetDeletionTimestamp() != nil {
		return false
	}
	labels, annotations := k.metadata(want, host)
	return len(labels) == 0 && len(annotations) == 0 && same != nil && same(want, host)
}

func (k *Kind[T]) metadata(want, host T) (labels, annotations map[string]any) {
	if k.Metadata != nil {
		return k.Metadata(want, host)
	}
	return missing(want.GetLabels(), host.GetLabels()), missing(want.GetAnnotations(), host.GetAnnotations())
}

func (k *Kind[T]) create(ctx context.Context, want T) (bool, error) {
	if _, err := k.Client.Create(ctx, want, metav1.CreateOptions{}); err != nil {
		return false, fmt.Errorf("create: %w", err)
	}
	return true, nil
}

// patch leaves alone whatever others added to the object. The resourceVersion
// keeps two writers from mixing contents.
func (k *Kind[T]) patch(ctx context.Context, want, old T) error {
	patch := k.Patch(want, old)
	labels, annotations := k.metadata(want, old)
	patch["metadata"] = map[string]any{
		"uid": old.GetUID(), "resourceVersion": old.GetResourceVersion(),
		"labels": labels, "annotations": annotations, "ownerReferences": want.GetOwnerReferences(),
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	if _, err := k.Client.Patch(ctx, want.GetName(), types.MergePatchType, body, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("patch: %w", err)
	}
	return nil
}

func (k *Kind[T]) update(ctx context.Context, want, old T) error {
	next := k.Update(want, old)
	labels, annotations := k.metadata(want, old)
	next.SetLabels(patched(old.GetLabels(), labels))
	next.SetAnnotations(patched(old.GetAnnotations(), annotations))
	next.SetOwnerReferences(want.GetOwnerReferences())
	if _, err := k.Client.Update(ctx, next, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	return nil
}

func (k *Kind[T]) delete(ctx context.Context, old T) error {
	err := k.Client.Delete(ctx, old.GetName(), metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(old.GetUID()))})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}

// missing returns the patch that gives have all that want has.
func missing(want, have map[string]string) map[string]any {
	patch := map[string]any{}
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			patch[k] = v
		}
	}
	return patch
}

// patched returns have after a patch of missing or Metadata.
func patched(have map[string]string, patch map[string]any) map[string]string {
	out := make(map[string]string, len(have)+len(patch))
	maps.Copy(out, have)
	for k, v := range patch {
		if text, ok := v.(string); ok {
			out[k] = text
		} else {
			delete(out, k)
		}
	}
	return out
}
