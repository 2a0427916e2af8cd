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
	cluster := t.Cluster()
	secrets, name := client.CoreV1().Secrets(cluster.HostNamespace), t.RootsSecretName()
	found, err := secrets.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		offered, err := offer()
		if err != nil {
			return nil, err
		}
		found, err = secrets.Create(ctx, rootsSecret(t, offered), metav1.CreateOptions{FieldManager: fieldManager})
		if apierrors.IsAlreadyExists(err) { // another replica was faster
			found, err = secrets.Get(ctx, name, metav1.GetOptions{})
		}
		if err != nil {
			return nil, fmt.Errorf("share the cluster's keys in host Secret %s/%s: %w", cluster.HostNamespace, name, err)
		}
		return rootsOf(t, found)
	}
	if err != nil {
		return nil, fmt.Errorf("read the cluster's keys in host Secret %s/%s: %w", cluster.HostNamespace, name, err)
	}
	return rootsOf(t, found)
}

func rootsSecret(t *rewrite.Translator, r certs.Roots) *corev1.Secret {
	cluster, immutable := t.Cluster(), true
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: t.RootsSecretName(), Namespace: cluster.HostNamespace,
			Labels:          map[string]string{rewrite.LabelCluster: cluster.Name, rewrite.LabelComposed: composedRoots},
			OwnerReferences: t.Owners(),
		},
		Type:      corev1.SecretTypeOpaque,
		Data:      r,
		Immutable: &immutable,
	}
}

// rootsOf believes a Secret that carries this cluster's marks, which only who
// may write to the host namespace can set.
func rootsOf(t *rewrite.Translator, s *corev1.Secret) (certs.Roots, error) {
	if s.Labels[rewrite.LabelCluster] != t.Cluster().Name || s.Labels[rewrite.LabelComposed] != composedRoots {
		return nil, fmt.Errorf("host Secret %s/%s: %w", s.Namespace, s.Name, ErrNotOurs)
	}
	return s.Data, nil
}
