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
	"k8s.io/client-go/util/retry"

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

// composedEtcdMembers is the purpose of the Secret with the certificate of the
// members of that etcd.
const composedEtcdMembers = "etcd-members"

// EtcdMembersSecretName returns the name of the host Secret that the members of a
// cluster's own etcd have mounted.
func EtcdMembersSecretName(cluster string) string { return cluster + ".etcd-members" }

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

// EnsureEtcdMembers keeps the files that the members of a cluster's own etcd have
// in common. renew gets those of now and returns better ones, or nil if there are
// none. The kubelets bring them to the members, which read them for each
// connection.
func EnsureEtcdMembers(ctx context.Context, client kubernetes.Interface, namespace, cluster string, renew func(have map[string][]byte) (map[string][]byte, error)) error {
	name, secrets := EtcdMembersSecretName(cluster), client.CoreV1().Secrets(namespace)
	err := retry.OnError(retry.DefaultBackoff, overtaken, func() error {
		found, err := secrets.Get(ctx, name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		missing := err != nil
		if missing {
			found = &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{
					Name: name, Namespace: namespace,
					Labels: map[string]string{rewrite.LabelCluster: cluster, rewrite.LabelComposed: composedEtcdMembers},
				},
				Type: corev1.SecretTypeOpaque,
			}
		}
		have, err := dataOf[map[string][]byte](cluster, found, composedEtcdMembers)
		if err != nil {
			return err
		}
		files, err := renew(have)
		if files == nil || err != nil {
			return err
		}
		found.Data = files
		if missing {
			_, err = secrets.Create(ctx, found, metav1.CreateOptions{FieldManager: fieldManager})
		} else {
			_, err = secrets.Update(ctx, found, metav1.UpdateOptions{FieldManager: fieldManager})
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("keep the certificate of the etcd in host Secret %s/%s: %w", namespace, name, err)
	}
	return nil
}

// overtaken reports whether another replica was faster.
func overtaken(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }
