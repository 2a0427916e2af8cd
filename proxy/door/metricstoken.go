// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door

import (
	"context"
	"crypto/rand"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/rewrite"
)

// composedMetrics is the purpose of the Secret with the token of the
// measurements.
const composedMetrics = "metrics"

// metricsToken is the key of that token in its Secret.
const metricsToken = "token"

// metricsSecretName returns the name of the host Secret with the token for a
// cluster's measurements. As with the Secret of the cluster's keys, no translated
// name is like it.
func metricsSecretName(cluster string) string { return cluster + ".metrics" }

// EnsureMetricsToken returns the token with which programs of the host read the
// measurements of all replicas. It is in a Secret on the host, which the first
// replica makes; one that was deleted is replaced with the next start.
func EnsureMetricsToken(ctx context.Context, client kubernetes.Interface, t *rewrite.Translator) (string, error) {
	name := metricsSecretName(t.Cluster().Name)
	data, err := ensureKeys(ctx, client, func() (map[string][]byte, error) {
		return map[string][]byte{metricsToken: []byte(rand.Text())}, nil
	}, func(data map[string][]byte) *corev1.Secret { return secretOf(t, name, composedMetrics, data) })
	if err != nil {
		return "", err
	}
	token := string(data[metricsToken])
	if len(token) < len(rand.Text()) {
		return "", fmt.Errorf("host Secret %s/%s: its token is shorter than Portico's; delete the Secret", t.Cluster().HostNamespace, name)
	}
	return token, nil
}
