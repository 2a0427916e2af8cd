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

// composedEtcd is the purpose of the Secret with the authority of a cluster's
// own etcd.
const composedEtcd = "etcd"

// EtcdSecretName returns the name of the host Secret with the authority of the
// etcd that a cluster has to itself. As with the Secret of the cluster's keys, no
// translated name is like it.
func EtcdSecretName(cluster string) string { return cluster + ".etcd" }

// EnsureEtcdAuthority returns the authority that the members of a cluster's own
// etcd and its clients share. It is in a Secret on the host, which the first of
// them makes, and which is never changed. The cluster's anchor may not be there
// yet, so nothing owns it; a removal finds it by its label.
func EnsureEtcdAuthority(ctx context.Context, client kubernetes.Interface, namespace, cluster string, offer func() (certs.EtcdAuthority, error)) (certs.EtcdAuthority, error) {
	secrets, name, immutable := client.CoreV1().Secrets(namespace), EtcdSecretName(cluster), true
	found, err := secrets.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		var offered certs.EtcdAuthority
		if offered, err = offer(); err != nil {
			return nil, err
		}
		found, err = secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Name: name, Namespace: namespace,
				Labels: map[string]string{rewrite.LabelCluster: cluster, rewrite.LabelComposed: composedEtcd},
			},
			Type: corev1.SecretTypeOpaque, Data: offered, Immutable: &immutable,
		}, metav1.CreateOptions{FieldManager: fieldManager})
		if apierrors.IsAlreadyExists(err) { // another member was faster
			found, err = secrets.Get(ctx, name, metav1.GetOptions{})
		}
	}
	if err == nil && (found.Labels[rewrite.LabelCluster] != cluster || found.Labels[rewrite.LabelComposed] != composedEtcd) {
		err = ErrNotOurs
	}
	if err != nil {
		return nil, fmt.Errorf("authority of the cluster's etcd in host Secret %s/%s: %w", namespace, name, err)
	}
	return found.Data, nil
}
