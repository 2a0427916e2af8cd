// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"portico.dev/portico/certs"
	"portico.dev/portico/rewrite"
)

// composedCredentials is the purpose of the Secret with the credentials.
const composedCredentials = "credentials"

// ErrNoCredentials is returned for a cluster without credentials on the host.
var ErrNoCredentials = errors.New("the cluster has no credentials on the host")

// EnsureCredentials returns the credentials of a cluster. They are in a Secret
// on the host, which the first porticod of the cluster makes from the result of
// offer, and which Rotate changes.
func EnsureCredentials(ctx context.Context, client kubernetes.Interface, t *rewrite.Translator, offer func() (certs.Credentials, error)) (certs.Credentials, error) {
	c, err := ensureKeys(ctx, client, offer, func(c certs.Credentials) *corev1.Secret {
		return secretOf(t, t.CredentialsSecretName(), composedCredentials, c)
	})
	if err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("host Secret %s/%s: %w", t.Cluster().HostNamespace, t.CredentialsSecretName(), err)
	}
	return c, nil
}

// Rotate revokes all certificates of a cluster's administrator, whether the
// cluster runs or not: each porticod of it takes the new credentials as soon as
// it sees them, or with its next start.
func Rotate(ctx context.Context, client kubernetes.Interface, namespace, cluster string, now func() time.Time) (certs.Credentials, error) {
	secrets, name := client.CoreV1().Secrets(namespace), rewrite.CredentialsSecretName(cluster)
	var rotated certs.Credentials
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		found, err := secrets.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return ErrNoCredentials
		}
		if err != nil {
			return err
		}
		old, err := dataOf[certs.Credentials](cluster, found, composedCredentials)
		if err != nil {
			return err
		}
		if err := old.Validate(); err != nil {
			return err
		}
		if rotated, err = old.Rotate(now); err != nil {
			return err
		}
		found = found.DeepCopy()
		found.Data = rotated
		_, err = secrets.Update(ctx, found, metav1.UpdateOptions{FieldManager: fieldManager})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("rotate the credentials in host Secret %s/%s: %w", namespace, name, err)
	}
	return rotated, nil
}
