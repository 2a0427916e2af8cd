// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package inpod

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/streaming/pkg/httpstream"

	"portico.dev/portico/cmd/portico/internal/cluster"
)

// Run runs a command in the container of porticod. Its standard output goes to
// out; its standard error is part of the error if it fails.
func Run(ctx context.Context, config *rest.Config, client kubernetes.Interface, pod *corev1.Pod, out io.Writer, command ...string) error {
	return Pipe(ctx, config, client, pod, nil, out, command...)
}

// Pipe is Run for a command that reads its standard input from in, if that is not
// nil.
func Pipe(ctx context.Context, config *rest.Config, client kubernetes.Interface, pod *corev1.Pod, in io.Reader, out io.Writer, command ...string) error {
	url := client.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: cluster.Container, Command: command, Stdin: in != nil, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	executor, err := streams(config, url)
	if err != nil {
		return err
	}
	var said bytes.Buffer
	if err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: in, Stdout: out, Stderr: &said}); err != nil {
		text := strings.TrimPrefix(strings.TrimSpace(said.String()), "error: ")
		if text == "" {
			text = err.Error()
		}
		return fmt.Errorf("%s in the pod %s/%s: %s", strings.Join(command, " "), pod.Namespace, pod.Name, text)
	}
	return nil
}

// streams opens streams at an address, as kubectl does: over SPDY where a proxy or
// an old API server knows no WebSockets.
func streams(config *rest.Config, at *url.URL) (remotecommand.Executor, error) {
	overSPDY, err := remotecommand.NewSPDYExecutor(config, http.MethodPost, at)
	if err != nil {
		return nil, err
	}
	overWebSocket, err := remotecommand.NewWebSocketExecutor(config, http.MethodGet, at.String())
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(overWebSocket, overSPDY, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
}
