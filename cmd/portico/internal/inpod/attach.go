// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package inpod

import (
	"context"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"

	"portico.dev/portico/cmd/portico/internal/cluster"
)

// Feed gives the container of porticod its standard input, to the end, and returns
// when the container has closed its streams. Its exit code is in the pod's status.
func Feed(ctx context.Context, config *rest.Config, client kubernetes.Interface, pod *corev1.Pod, in io.Reader) error {
	url := client.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("attach").
		VersionedParams(&corev1.PodAttachOptions{Container: cluster.Container, Stdin: true, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	executor, err := streams(config, url)
	if err != nil {
		return err
	}
	// The log has it all.
	if err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: in, Stdout: io.Discard, Stderr: io.Discard}); err != nil {
		return fmt.Errorf("send to the pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}
