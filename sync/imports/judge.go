// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var (
	errMark    = fmt.Errorf("the annotation %s marks objects of the host, and only porticod sets it", AnnotationHost)
	errContent = errors.New("the object is the host's, and has the content that it has there: it cannot be changed or deleted; make one under another name")
)

// JudgeConfigMap refuses a tenant's write to a shown ConfigMap that would have no
// effect. A new one has nothing before, a deleted one nothing after.
func JudgeConfigMap(before, after *corev1.ConfigMap) error {
	return judge(before, after, func() bool {
		return equality.Semantic.DeepEqual(before.Data, after.Data) && equality.Semantic.DeepEqual(before.BinaryData, after.BinaryData) &&
			equality.Semantic.DeepEqual(before.Immutable, after.Immutable)
	})
}

// JudgeSecret is JudgeConfigMap for Secrets.
func JudgeSecret(before, after *corev1.Secret) error {
	return judge(before, after, func() bool {
		return equality.Semantic.DeepEqual(before.Data, after.Data) && equality.Semantic.DeepEqual(before.Immutable, after.Immutable)
	})
}

func judge[T interface {
	comparable
	metav1.Object
}](before, after T, same func() bool) error {
	var none T
	switch {
	case before == none || !mirrored(before):
		if after != none && mirrored(after) {
			return errMark
		}
		return nil
	case after == none:
		return errContent
	case before.GetAnnotations()[AnnotationHost] != after.GetAnnotations()[AnnotationHost]:
		return errMark
	case !same():
		return errContent
	}
	return nil
}
