// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/certs"
	"portico.dev/portico/rewrite"
)

// composedRoots is the purpose of the Secret, which sets it apart from copies
// of a tenant's Secrets.
const composedRoots = "roots"

// EnsureRoots returns the roots that all replicas of a cluster share. They are
// in a Secret on the host, which the first replica makes from the result of
// offer, and which is never changed.
func EnsureRoots(ctx context.Context, client kubernetes.Interface, t *rewrite.Translator, offer func() (certs.Roots, error)) (certs.Roots, error) {
	return ensureKeys(ctx, client, offer, func(r certs.Roots) *corev1.Secret {
		s, immutable := secretOf(t, t.RootsSecretName(), composedRoots, r), true
		s.Immutable = &immutable
		return s
	})
}

// ensureKeys returns the keys in the Secret that secret makes, after making it
// out of an offer if it is not there.
func ensureKeys[T ~map[string][]byte](ctx context.Context, client kubernetes.Interface, offer func() (T, error), secret func(T) *corev1.Secret) (T, error) {
	want := secret(nil)
	cluster, purpose := want.Labels[rewrite.LabelCluster], want.Labels[rewrite.LabelComposed]
	secrets := client.CoreV1().Secrets(want.Namespace)
	found, err := secrets.Get(ctx, want.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		offered, err := offer()
		if err != nil {
			return nil, err
		}
		found, err = secrets.Create(ctx, secret(offered), metav1.CreateOptions{FieldManager: fieldManager})
		if apierrors.IsAlreadyExists(err) { // another replica was faster
			found, err = secrets.Get(ctx, want.Name, metav1.GetOptions{})
		}
		if err != nil {
			return nil, fmt.Errorf("share the cluster's keys in host Secret %s/%s: %w", want.Namespace, want.Name, err)
		}
		return dataOf[T](cluster, found, purpose)
	}
	if err != nil {
		return nil, fmt.Errorf("read the cluster's keys in host Secret %s/%s: %w", want.Namespace, want.Name, err)
	}
	return dataOf[T](cluster, found, purpose)
}

// secretOf is a Secret of the cluster that is a copy of no tenant's.
func secretOf(t *rewrite.Translator, name, purpose string, data map[string][]byte) *corev1.Secret {
	cluster := t.Cluster()
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: cluster.HostNamespace,
			Labels:          map[string]string{rewrite.LabelCluster: cluster.Name, rewrite.LabelComposed: purpose},
			OwnerReferences: t.Owners(),
		},
		Type: corev1.SecretTypeOpaque,
		Data: data,
	}
}

// dataOf believes a Secret that carries this cluster's marks, which only who
// may write to the host namespace can set.
func dataOf[T ~map[string][]byte](cluster string, s *corev1.Secret, purpose string) (T, error) {
	if !marked(cluster, s, purpose) {
		return nil, fmt.Errorf("host Secret %s/%s: %w", s.Namespace, s.Name, ErrNotOurs)
	}
	return s.Data, nil
}

func marked(cluster string, s *corev1.Secret, purpose string) bool {
	return s.Labels[rewrite.LabelCluster] == cluster && s.Labels[rewrite.LabelComposed] == purpose
}
