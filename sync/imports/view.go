// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package imports

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"

	"portico.dev/portico/sync/internal/mirror"
)

// AnnotationHost marks objects that show one of the host. Its value is the uid
// there.
const AnnotationHost = "portico.dev/host-object"

// row is how objects of one kind are shown.
type row[T mirror.Object] struct {
	resource string
	client   func(c kubernetes.Interface, namespace string) mirror.Client[T]
	informer func(informers.SharedInformerFactory) cache.SharedIndexInformer
	blank    func(metav1.ObjectMeta) T
	copied   func(T) T
	// fill gives shown the content of from.
	fill func(shown, from T)
	// fixed reports whether the API keeps shown from becoming want
	// (ValidateConfigMapUpdate, ValidateSecretUpdate).
	fixed func(shown, want T) bool
}

var configMaps = row[*corev1.ConfigMap]{
	resource: "configmaps",
	client: func(c kubernetes.Interface, namespace string) mirror.Client[*corev1.ConfigMap] {
		return c.CoreV1().ConfigMaps(namespace)
	},
	informer: func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
		return f.Core().V1().ConfigMaps().Informer()
	},
	blank:  func(m metav1.ObjectMeta) *corev1.ConfigMap { return &corev1.ConfigMap{ObjectMeta: m} },
	copied: (*corev1.ConfigMap).DeepCopy,
	fill: func(shown, from *corev1.ConfigMap) {
		from = from.DeepCopy()
		shown.Data, shown.BinaryData, shown.Immutable = from.Data, from.BinaryData, from.Immutable
	},
	fixed: func(shown, want *corev1.ConfigMap) bool {
		return ptr.Deref(shown.Immutable, false) && (!ptr.Deref(want.Immutable, false) ||
			!equality.Semantic.DeepEqual(shown.Data, want.Data) || !equality.Semantic.DeepEqual(shown.BinaryData, want.BinaryData))
	},
}

var secrets = row[*corev1.Secret]{
	resource: "secrets",
	client: func(c kubernetes.Interface, namespace string) mirror.Client[*corev1.Secret] {
		return c.CoreV1().Secrets(namespace)
	},
	informer: func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
		return f.Core().V1().Secrets().Informer()
	},
	blank:  func(m metav1.ObjectMeta) *corev1.Secret { return &corev1.Secret{ObjectMeta: m} },
	copied: (*corev1.Secret).DeepCopy,
	fill: func(shown, from *corev1.Secret) {
		from = from.DeepCopy()
		shown.Data, shown.Type, shown.Immutable = from.Data, from.Type, from.Immutable
	},
	fixed: func(shown, want *corev1.Secret) bool {
		return shown.Type != want.Type || ptr.Deref(shown.Immutable, false) &&
			(!ptr.Deref(want.Immutable, false) || !equality.Semantic.DeepEqual(shown.Data, want.Data))
	},
}

func mirrored(shown metav1.Object) bool { return shown.GetAnnotations()[AnnotationHost] != "" }
