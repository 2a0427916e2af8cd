// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door

import (
	"context"

	corev1 "k8s.io/api/core/v1"
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
	immutable := true
	return ensureKeys(ctx, client, offer, func(a certs.EtcdAuthority) *corev1.Secret {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Name: EtcdSecretName(cluster), Namespace: namespace,
				Labels: map[string]string{rewrite.LabelCluster: cluster, rewrite.LabelComposed: composedEtcd},
			},
			Type: corev1.SecretTypeOpaque, Data: a, Immutable: &immutable,
		}
	})
}
