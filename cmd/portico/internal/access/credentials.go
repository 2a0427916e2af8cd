// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/output"
)

// Keys of the Secret.
const (
	keyCA   = "certificate-authority"
	keyCert = "client-certificate"
	keyKey  = "client-key"
)

// Credentials are the administrator's.
type Credentials struct{ CA, Cert, Key []byte }

// Administrator reads the credentials that porticod keeps on the host. It
// returns false while there are none yet.
func Administrator(ctx context.Context, client kubernetes.Interface, namespace, name string) (Credentials, bool, error) {
	secret, err := client.CoreV1().Secrets(namespace).Get(ctx, cluster.Secret(name), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return Credentials{}, false, nil
	}
	if err != nil {
		return Credentials{}, false, output.WithHint(fmt.Errorf("read the credentials of %s: %w", name, err),
			"they are in the host Secret %s/%s, which one has to be allowed to read", namespace, cluster.Secret(name))
	}
	c := Credentials{CA: secret.Data[keyCA], Cert: secret.Data[keyCert], Key: secret.Data[keyKey]}
	return c, len(c.CA) > 0 && len(c.Cert) > 0 && len(c.Key) > 0, nil
}
