// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/apiserver/pkg/server/routes"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/component-base/metrics/prometheus/slis"
	kubeapiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"

	"portico.dev/portico/proxy/metrics"
)

// withoutMetrics has upstream serve no measurements: its handlers show all that
// the process has.
func withoutMetrics(kube *kubeapiserver.Config) {
	for _, c := range []*genericapiserver.Config{
		kube.KubeAPIs.ControlPlane.Generic, &kube.ApiExtensions.GenericConfig.Config, &kube.Aggregator.GenericConfig.Config,
	} {
		c.EnableMetrics = false
	}
}

// installMetrics serves a tenant's part of the measurements.
func installMetrics(server *genericapiserver.GenericAPIServer) {
	// Upstream registers its families when its handler is installed, and in no
	// other way. This one gets no requests.
	routes.DefaultMetrics{}.Install(mux.NewPathRecorderMux("unused"))
	server.Handler.NonGoRestfulMux.Handle("/metrics", metrics.ForTenants(legacyregistry.DefaultGatherer))
	slis.SLIMetrics{}.Install(server.Handler.NonGoRestfulMux)
}
