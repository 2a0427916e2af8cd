// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package inpod

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/wait"
)

// List returns the pods of porticod, those that are ready first.
func List(ctx context.Context, client kubernetes.Interface, namespace, name string) ([]corev1.Pod, error) {
	pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: cluster.DoorPods(name)})
	if err != nil {
		return nil, fmt.Errorf("list the pods of %s: %w", name, err)
	}
	rank := func(p corev1.Pod) int {
		if p.DeletionTimestamp == nil && wait.Ready(&p) {
			return 0
		}
		return 1
	}
	slices.SortFunc(pods.Items, func(a, b corev1.Pod) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Name, b.Name))
	})
	return pods.Items, nil
}

// Log copies the log of porticod in a pod.
func Log(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod, options corev1.PodLogOptions, to io.Writer) error {
	options.Container = cluster.Container
	from, err := client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &options).Stream(ctx)
	if err != nil {
		return fmt.Errorf("read the log of the pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	defer from.Close()
	if _, err := io.Copy(to, from); err != nil && ctx.Err() == nil {
		return fmt.Errorf("read the log of the pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}
