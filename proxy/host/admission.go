// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
)

// isKept reports whether k is the object that the cluster keeps for itself.
func (s *Storage) isKept(k key) bool {
	return s.kind.kept == types.NamespacedName{Namespace: k.namespace, Name: k.name}
}

func (s *Storage) keptForbidden(k key) error {
	return apierrors.NewForbidden(s.resource, k.name, rewrite.ErrOwnService)
}

// mayDelete refuses to begin or to finish a deletion that the tenant may not
// ask for.
func (s *Storage) mayDelete(k key, h runtime.Object) error {
	if s.kind.mayDelete == nil {
		return nil
	}
	return s.kind.mayDelete(s, k, h)
}

// refusal returns a tenant's error for an object that has no translation.
func (s *Storage) refusal(ctx context.Context, err error, k key) error {
	var status *apierrors.StatusError
	switch {
	case errors.Is(err, rewrite.ErrOwnService):
		return s.keptForbidden(k)
	case errors.As(err, &status):
		return status // the fields that the tenant may not write, one by one
	}
	klog.FromContext(ctx).Error(err, "Object has no translation", "resource", s.kind.resource, "virtualObject", k.ref())
	return apierrors.NewInternalError(errors.New("the object cannot be translated for the host of this cluster"))
}
