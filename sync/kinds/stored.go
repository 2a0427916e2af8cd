// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kinds

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
)

// Stored returns an object from the store of an informer, or a not-found error.
// The namespace of a kind without namespaces is "".
func Stored[T metav1.Object](store cache.Store, namespace, name string) (T, error) {
	obj, exists, err := store.GetByKey(cache.NewObjectName(namespace, name).String())
	found, ok := obj.(T)
	switch {
	case err != nil:
		return found, fmt.Errorf("read %q from an informer: %w", name, err)
	case !exists || !ok:
		return found, apierrors.NewNotFound(schema.GroupResource{}, name)
	}
	return found, nil
}
