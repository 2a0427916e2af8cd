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

// Refused reports whether the host has said no to an object, rather than failed.
func Refused(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || errors.Is(err, ErrForeign)
}

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
	// Removed has the objects that Seen may still have and that are gone.
	Removed *Removed
	// Ours reports whether a host object is ours under its name.
	Ours func(host T) bool

	Rules[T]
}

// Rules say how host objects of a kind become the wanted ones.
type Rules[T metav1.Object] struct {
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

// Effect is how an object came to be as it is wanted.
type Effect int

// The effects of a write.
const (
	None     Effect = iota // it was so before, or there was an error
	Created                // there was none
	Replaced               // it was deleted and created again
	Changed                // it was patched or updated
)

// Write brings want to the host. Errors of the host are wrapped; ErrForeign is
// one of them.
func (k *Kind[T]) Write(ctx context.Context, want T) (Effect, error) {
	if k.seenInStep(want) {
		return None, nil
	}
	effect, err := k.create(ctx, want, Created)
	if !apierrors.IsAlreadyExists(err) {
		return effect, err
	}
	if effect, err = k.correct(ctx, want); apierrors.IsNotFound(err) {
		return k.create(ctx, want, Created) // it went in between
	}
	return effect, err
}

// Follow is Write for an object that is on the host. It creates none where there
// is none: the informer may have one that went a moment ago.
func (k *Kind[T]) Follow(ctx context.Context, want T) (Effect, error) {
	if k.seenInStep(want) {
		return None, nil
	}
	effect, err := k.correct(ctx, want)
	if apierrors.IsNotFound(err) {
		return None, nil
	}
	return effect, err
}

// correct turns the host object under the name of want into want.
func (k *Kind[T]) correct(ctx context.Context, want T) (Effect, error) {
	old, err := k.Client.Get(ctx, want.GetName(), metav1.GetOptions{})
	switch {
	case err != nil:
		return None, fmt.Errorf("read: %w", err)
	case !k.Ours(old):
		return None, fmt.Errorf("create: %w", ErrForeign)
	case k.inStep(want, old, k.Same):
		return None, nil
	case old.GetDeletionTimestamp() != nil || k.Fixed != nil && k.Fixed(want, old):
		if err := k.delete(ctx, old); err != nil {
			return None, err
		}
		return k.create(ctx, want, Replaced)
	case k.Update != nil:
		return k.update(ctx, want, old)
	default:
		return k.patch(ctx, want, old)
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
	_, ok := k.Look(name)
	return ok
}

// Look returns the object of that name that the informer has, except for one
// that was removed since.
func (k *Kind[T]) Look(name string) (seen T, ok bool) {
	if k.Seen == nil {
		return seen, false
	}
	seen, err := k.Seen(name)
	return seen, err == nil && !k.Removed.has(seen.GetUID())
}

func (k *Kind[T]) seenInStep(want T) bool {
	same := k.SameSeen
	if same == nil {
		same = k.Same
	}
	seen, ok := k.Look(want.GetName())
	return ok && k.inStep(want, seen, same)
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
	return Missing(want.GetLabels(), host.GetLabels()), Missing(want.GetAnnotations(), host.GetAnnotations())
}

func (k *Kind[T]) create(ctx context.Context, want T, done Effect) (Effect, error) {
	if _, err := k.Client.Create(ctx, want, metav1.CreateOptions{}); err != nil {
		return None, fmt.Errorf("create: %w", err)
	}
	return done, nil
}

// patch leaves alone the additions of others to the object. The resourceVersion
// keeps two writers from mixing contents.
func (k *Kind[T]) patch(ctx context.Context, want, old T) (Effect, error) {
	patch := k.Patch(want, old)
	labels, annotations := k.metadata(want, old)
	patch["metadata"] = map[string]any{
		"uid": old.GetUID(), "resourceVersion": old.GetResourceVersion(),
		"labels": labels, "annotations": annotations, "ownerReferences": want.GetOwnerReferences(),
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return None, fmt.Errorf("encode: %w", err)
	}
	if _, err := k.Client.Patch(ctx, want.GetName(), types.MergePatchType, body, metav1.PatchOptions{}); err != nil {
		return None, fmt.Errorf("patch: %w", err)
	}
	return Changed, nil
}

func (k *Kind[T]) update(ctx context.Context, want, old T) (Effect, error) {
	next := k.Update(want, old)
	labels, annotations := k.metadata(want, old)
	next.SetLabels(patched(old.GetLabels(), labels))
	next.SetAnnotations(patched(old.GetAnnotations(), annotations))
	next.SetOwnerReferences(want.GetOwnerReferences())
	if _, err := k.Client.Update(ctx, next, metav1.UpdateOptions{}); err != nil {
		return None, fmt.Errorf("update: %w", err)
	}
	return Changed, nil
}

func (k *Kind[T]) delete(ctx context.Context, old T) error {
	k.Removed.note(old.GetUID())
	err := k.Client.Delete(ctx, old.GetName(), metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(old.GetUID()))})
	if err != nil && !apierrors.IsNotFound(err) {
		k.Removed.forget(old.GetUID())
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}

// Missing returns the merge patch that gives have all labels or annotations that
// want has, and keeps any other.
func Missing(want, have map[string]string) map[string]any {
	patch := map[string]any{}
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			patch[k] = v
		}
	}
	return patch
}

// patched returns have after a patch of Missing or Metadata.
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
