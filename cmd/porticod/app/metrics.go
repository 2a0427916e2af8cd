// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"
	"k8s.io/utils/ptr"
)

// servesMetrics says whether metrics.k8s.io is served if the host has it.
func (vc *virtualCluster) servesMetrics() bool {
	return ptr.Deref(vc.config.Integrations.MetricsServer.Enabled, true)
}

// checkMetrics makes sure that the host has the metrics that the configuration
// asks for.
func (vc *virtualCluster) checkMetrics(ctx context.Context) error {
	if !ptr.Deref(vc.config.Integrations.MetricsServer.Enabled, false) {
		return nil
	}
	client, err := metricsclient.NewForConfig(vc.hostConfig)
	if err != nil {
		return fmt.Errorf("client for the host's metrics: %w", err)
	}
	one := metav1.ListOptions{Limit: 1}
	if _, err := client.PodMetricses(vc.config.Host.Namespace).List(ctx, one); err != nil {
		return withHint(fmt.Errorf("integrations.metricsServer: read the host's pod metrics: %w", err),
			"the host needs a metrics server, and porticod the rule for metrics.k8s.io that porticod rights prints")
	}
	if !vc.config.Sync.Nodes.Real() {
		return nil
	}
	if _, err := client.NodeMetricses().List(ctx, one); err != nil {
		return withHint(fmt.Errorf("integrations.metricsServer: read the host's node metrics: %w", err),
			"with sync.nodes, porticod needs the rule for metrics.k8s.io of the ClusterRole that porticod rights prints")
	}
	return nil
}
