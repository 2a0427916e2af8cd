// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package push

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/sync/internal/hostview"
)

func (k *kindCopies[T]) followFormer(ctx context.Context, r reference) error {
	name, had := k.translator.FormerName(r.namespace, r.name)
	if !had {
		return nil
	}
	seen, err := k.seen(name)
	if err != nil || !k.ours(r, seen) {
		return nil // there is none
	}
	virtual, err := k.read(ctx, r, false)
	if apierrors.IsNotFound(err) {
		return nil // it goes with the copy of today
	}
	if err != nil {
		return err
	}
	want, err := k.toHost(virtual)
	if err != nil {
		return fmt.Errorf("translate %s: %w", r.key(), err)
	}
	want.SetName(name)
	if inStep(want, seen, seen.GetAnnotations()[hostview.AnnotationDigest]) {
		return nil
	}
	if err := k.correct(ctx, r, want); !apierrors.IsNotFound(err) {
		return err
	}
	return nil
}

func (k *kindCopies[T]) vacant(ctx context.Context, r reference) error {
	name := k.translator.Name(r.namespace, r.name)
	if seen, err := k.seen(name); err == nil && k.ours(r, seen) {
		return nil
	}
	there, err := k.host.Get(ctx, name, metav1.GetOptions{})
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
