// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package hostview

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
)

// AnnotationDigest holds an object's Digest in the view.
const AnnotationDigest = "portico.dev/observed-digest"

// LabelToken sets the Secrets of pod tokens apart from pushed Secrets, so that each is watched and owned by one package.
const LabelToken = "portico.dev/token"

// NewFactory returns informers over the objects of one host namespace that selector matches.
func NewFactory(client kubernetes.Interface, namespace string, selector labels.Selector) informers.SharedInformerFactory {
	return informers.NewSharedInformerFactoryWithOptions(client, 0,
		informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = selector.String() }),
		informers.WithTransform(reduce))
}

// reduce replaces the content of a Secret or ConfigMap by its digest. It runs before anything is stored.
func reduce(obj any) (any, error) {
	var content int
	digest := Digest(obj)
	switch o := obj.(type) {
	case *corev1.Secret:
		content = len(o.Data)
		o.Data, o.StringData = nil, nil
	case *corev1.ConfigMap:
		content = len(o.Data) + len(o.BinaryData)
		o.Data, o.BinaryData = nil, nil
	default:
		return obj, nil
	}
	object, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	object.SetManagedFields(nil)
	annotations := maps.Clone(object.GetAnnotations())
	// An informer may transform an object twice; the second time there is no content left to digest.
	if _, done := annotations[AnnotationDigest]; content == 0 && done {
		return obj, nil
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[AnnotationDigest] = digest
	object.SetAnnotations(annotations)
	return obj, nil
}

// Digest identifies the content of a Secret or ConfigMap: data, type and whether it may change. It is "" for any other
// object.
func Digest(obj any) string {
	var content any
	switch o := obj.(type) {
	case *corev1.Secret:
		kind := o.Type
		if kind == "" {
			kind = corev1.SecretTypeOpaque // as the API server defaults it
		}
		content = []any{kind, isTrue(o.Immutable), nonNil(o.Data)}
	case *corev1.ConfigMap:
		content = []any{isTrue(o.Immutable), nonNil(o.Data), nonNil(o.BinaryData)}
	default:
		return ""
	}
	// Maps are encoded in the order of their keys, and none of these types can fail to encode.
	encoded, err := json.Marshal(content)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}

func isTrue(b *bool) bool { return b != nil && *b }

// nonNil makes an empty map and a missing one the same.
func nonNil[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}
