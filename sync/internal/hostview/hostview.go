// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package hostview

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/rewrite"
)

// AnnotationDigest holds an object's Digest in the view.
const AnnotationDigest = "portico.dev/observed-digest"

// LabelComposed sets objects that were composed for the host apart from those
// that were pushed to it, so that each is watched and owned by one package. Its
// value is a Purpose.
const LabelComposed = rewrite.LabelComposed

// Purpose is the use that an object was composed for.
type Purpose string

// The purposes, each of which one package owns.
const (
	Token       Purpose = "token"
	Certificate Purpose = "certificate"
	TrustBundle Purpose = "trust-bundle"
	// ServiceVariables are the variables by which containers find Services.
	ServiceVariables Purpose = "service-variables"
	// MappedService is a virtual Service under a name that the operator chose.
	MappedService Purpose = "mapped-service"
	// ReturnedSecret is a Secret that a controller of the host made for a custom
	// object of the tenant's.
	ReturnedSecret Purpose = "returned-secret"
)

// NewComposedFactory returns informers over the objects that were composed for
// one purpose in one cluster.
func NewComposedFactory(client kubernetes.Interface, t *rewrite.Translator, p Purpose) (informers.SharedInformerFactory, error) {
	r, err := labels.NewRequirement(LabelComposed, selection.Equals, []string{string(p)})
	if err != nil {
		return nil, fmt.Errorf("select objects composed for a %s: %w", p, err)
	}
	return NewFactory(client, t.Cluster().HostNamespace, t.ScopeSelector().Add(*r)), nil
}

// Pushed selects the objects of one cluster that were not composed.
func Pushed(t *rewrite.Translator) (labels.Selector, error) {
	r, err := labels.NewRequirement(LabelComposed, selection.DoesNotExist, nil)
	if err != nil {
		return nil, fmt.Errorf("select pushed objects: %w", err)
	}
	return t.ScopeSelector().Add(*r), nil
}

// NewFactory returns informers over the objects of one host namespace that
// selector matches.
func NewFactory(client kubernetes.Interface, namespace string, selector labels.Selector) informers.SharedInformerFactory {
	return informers.NewSharedInformerFactoryWithOptions(client, 0,
		informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = selector.String() }),
		informers.WithTransform(reduce))
}

// Observe runs informers until ctx ends. Informers of which a reconcile loop and
// requests both read run like this, in every replica; nil ones are left out. The
// error is always nil.
func Observe(ctx context.Context, factories ...informers.SharedInformerFactory) error {
	factories = slices.DeleteFunc(slices.Clone(factories), func(f informers.SharedInformerFactory) bool { return f == nil })
	for _, f := range factories {
		f.Start(ctx.Done())
	}
	<-ctx.Done()
	for _, f := range factories {
		f.Shutdown()
	}
	return nil
}

// reduce replaces the content of a Secret or ConfigMap by its digest. It runs
// before anything is stored, and leaves its argument alone: a watch may have
// given the same object to somebody else.
func reduce(obj any) (any, error) {
	switch o := obj.(type) {
	case *corev1.Secret:
		reduced := *o
		reduced.Data, reduced.StringData = nil, nil
		reduced.ObjectMeta = reduceMeta(o.ObjectMeta, Digest(o), len(o.Data))
		return &reduced, nil
	case *corev1.ConfigMap:
		reduced := *o
		reduced.Data, reduced.BinaryData = nil, nil
		reduced.ObjectMeta = reduceMeta(o.ObjectMeta, Digest(o), len(o.Data)+len(o.BinaryData))
		return &reduced, nil
	default:
		return obj, nil
	}
}

func reduceMeta(m metav1.ObjectMeta, digest string, content int) metav1.ObjectMeta {
	m.ManagedFields = nil
	// An informer may transform an object twice; the second time there is no
	// content left to digest.
	if _, done := m.Annotations[AnnotationDigest]; content == 0 && done {
		return m
	}
	m.Annotations = maps.Clone(m.Annotations)
	if m.Annotations == nil {
		m.Annotations = map[string]string{}
	}
	m.Annotations[AnnotationDigest] = digest
	return m
}

// Digest identifies the content of a Secret or ConfigMap: data, type and
// whether it may change. It is "" for any other object.
func Digest(obj any) string {
	var content any
	switch o := obj.(type) {
	case *corev1.Secret:
		kind := o.Type
		if kind == "" {
			kind = corev1.SecretTypeOpaque // as the API server defaults it
		}
		content = []any{kind, isTrue(o.Immutable), nonNilBytes(o.Data)}
	case *corev1.ConfigMap:
		content = []any{isTrue(o.Immutable), nonNil(o.Data), nonNilBytes(o.BinaryData)}
	default:
		return ""
	}
	// Maps are encoded in the order of their keys, and none of these types can
	// fail to encode.
	encoded, err := json.Marshal(content)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}

// Same reports whether two objects that are not of the view have the same
// content.
func Same[T metav1.Object](want, have T) bool { return Digest(want) == Digest(have) }

// SameSeen is Same for an object of the view.
func SameSeen[T metav1.Object](want, seen T) bool {
	return Digest(want) == seen.GetAnnotations()[AnnotationDigest]
}

// Changes returns the merge patch from old to want: a key that is gone is null,
// and one without bytes is not.
func Changes[V any](want, old map[string]V) map[string]any {
	patch := make(map[string]any, len(want))
	for k := range old {
		patch[k] = nil
	}
	for k, v := range want {
		if b, ok := any(v).([]byte); ok && b == nil {
			patch[k] = []byte{}
			continue
		}
		patch[k] = v
	}
	return patch
}

func isTrue(b *bool) bool { return b != nil && *b }

// nonNil makes an empty map and a missing one the same.
func nonNil[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

// nonNilBytes makes a value without bytes and a missing one the same, too.
func nonNilBytes(m map[string][]byte) map[string][]byte {
	out := make(map[string][]byte, len(m))
	for k, v := range m {
		if v == nil {
			v = []byte{}
		}
		out[k] = v
	}
	return out
}
