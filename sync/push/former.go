// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package push

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (k *kindCopies[T]) followFormer(ctx context.Context, r reference) error {
	for _, former := range k.names(r)[1:] {
		if seen, ok := k.copies.Look(former); !ok || !k.ours(r, seen) {
			continue // there is none
		}
		want, exists, err := k.want(ctx, r, false)
		if err != nil || !exists {
			return err // without a virtual object it goes with the copy of today
		}
		want.SetName(former)
		if _, err := k.of(r).Follow(ctx, want); err != nil {
			return k.inVirtualTerms(r, err)
		}
	}
	return nil
}

func (k *kindCopies[T]) vacant(ctx context.Context, r reference) error {
	name := k.names(r)[0]
	if seen, ok := k.copies.Look(name); ok && k.ours(r, seen) {
		return nil
	}
	there, err := k.copies.Client.Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return err
	case !k.ours(r, there):
		return k.taken(r)
	}
	return nil
}
