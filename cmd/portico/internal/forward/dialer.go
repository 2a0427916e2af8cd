// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"context"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"

	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/wait"
)

// PodPort is where porticod listens in its pods.
const PodPort = 8443

// ToPod returns a Dial that opens a connection to a ready pod of a virtual
// cluster.
func ToPod(config *rest.Config, client kubernetes.Interface, namespace, name string) Dial {
	return func(ctx context.Context) (httpstream.Connection, error) {
		pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: cluster.DoorPods(name)})
		if err != nil {
			return nil, fmt.Errorf("find a pod of %s: %w", name, err)
		}
		pod := choose(pods.Items)
		if pod == "" {
			return nil, fmt.Errorf("virtual cluster %s has no ready pod", name)
		}
		url := client.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
		roundTripper, upgrader, err := spdy.RoundTripperFor(config)
		if err != nil {
			return nil, err
		}
		overSPDY := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: roundTripper}, http.MethodPost, url)
		overWebSocket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, config)
		if err != nil {
			return nil, err
		}
		conn, _, err := portforward.NewFallbackDialerForStreaming(overWebSocket, overSPDY, func(err error) bool {
			return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
		}).Dial(portforward.PortForwardProtocolV1Name)
		if err != nil {
			return nil, fmt.Errorf("forward to the pod %s/%s: %w", namespace, pod, err)
		}
		return conn, nil
	}
}

// choose returns the name of a ready pod.
func choose(pods []corev1.Pod) string {
	for i := range pods {
		if pods[i].DeletionTimestamp == nil && wait.Ready(&pods[i]) {
			return pods[i].Name
		}
	}
	return ""
}
