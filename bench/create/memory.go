// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// summary is the part of a kubelet's answer that is read.
type summary struct {
	Pods []struct {
		PodRef struct{ Name, Namespace string }
		Memory struct {
			WorkingSetBytes int64
			RSSBytes        int64
		}
	}
}

// printMemory prints what the kubelets say of the pods of a control plane.
func printMemory(ctx context.Context, to io.Writer, client kubernetes.Interface, namespace, name string) error {
	pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "portico.dev/door=" + name})
	if err != nil {
		return fmt.Errorf("list the pods of %s: %w", name, err)
	}
	for _, pod := range pods.Items {
		answer, err := client.CoreV1().RESTClient().Get().Resource("nodes").Name(pod.Spec.NodeName).SubResource("proxy").Suffix("stats/summary").DoRaw(ctx)
		if err != nil {
			return fmt.Errorf("ask the kubelet of %s: %w", pod.Spec.NodeName, err)
		}
		var s summary
		if err := json.Unmarshal(answer, &s); err != nil {
			return fmt.Errorf("read the kubelet's summary: %w", err)
		}
		for _, p := range s.Pods {
			if p.PodRef.Namespace == namespace && p.PodRef.Name == pod.Name {
				fmt.Fprintf(to, "idle memory of the pod %s: working set %d MiB, anonymous %d MiB\n", pod.Name, p.Memory.WorkingSetBytes>>20, p.Memory.RSSBytes>>20)
			}
		}
	}
	return nil
}
