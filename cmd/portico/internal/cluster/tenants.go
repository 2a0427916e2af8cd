// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/rewrite"
)

// TenantPods counts the pods of a cluster on the host that are its tenant's.
func TenantPods(ctx context.Context, client kubernetes.Interface, namespace, name string) (int, error) {
	pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{
		LabelSelector: rewrite.LabelCluster + "=" + name + "," + rewrite.LabelNamespace,
	})
	if err != nil {
		return 0, err
	}
	return len(pods.Items), nil
}
