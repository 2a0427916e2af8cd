// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"portico.dev/portico/cmd/portico/internal/kubeconfig"
)

// Client returns a client of the virtual cluster.
func Client(e kubeconfig.Entry) (kubernetes.Interface, error) {
	config, err := clientcmd.NewDefaultClientConfig(*e.Alone(), nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("open the virtual cluster: %w", err)
	}
	config.Timeout = 10 * time.Second
	return kubernetes.NewForConfig(config)
}

// Ready reports whether the API serves the objects that every pod needs. If it
// does not yet, it returns why.
func Ready(ctx context.Context, virtual kubernetes.Interface) (ready bool, why error) {
	_, err := virtual.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
	switch {
	case err == nil:
		return true, nil
	case apierrors.IsForbidden(err):
		// One with fewer rights is in all the same.
		return true, nil
	}
	return false, err
}
