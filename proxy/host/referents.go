// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
)

// ensureReferents brings the objects that another refers to onto the host.
// Without an error, settle must be called when it is known whether the host
// refused the object.
func (s *Storage) ensureReferents(ctx context.Context, k key, versioned runtime.Object) (settle func(refused bool), err error) {
	if s.kind.referents == nil || s.cfg.Referents == nil || IsDryRun(ctx) {
		return settled, nil
	}
	if settle, err = s.cfg.Referents.Ensure(ctx, k.namespace, s.kind.referents(s.cfg.Translator, versioned)); err != nil {
		return nil, s.interpret(ctx, err, k)
	}
	return settle, nil
}

// settled is for objects for which nothing was brought onto the host.
func settled(bool) {}

// isRefusal reports whether an error of a host call says that the host has not
// executed the request, and will not. Any other error leaves that open.
func isRefusal(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= http.StatusBadRequest && code < http.StatusInternalServerError && code != http.StatusRequestTimeout
}
