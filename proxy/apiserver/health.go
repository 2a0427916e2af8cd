// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"net/http"
	"slices"

	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/healthz"
	kubeapiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// Upstream's names of background work that we do with code of our own. Its
// tests, and tools of people, look for them in the verbose answers of health
// endpoints.
const (
	kubernetesServiceHook = "bootstrap-controller"
	serviceCIDRHook       = "start-kubernetes-service-cidr-controller"
	serviceRepairHook     = "start-service-ip-repair-controllers"
)

// addHealthChecks adds our checks to the outermost server, which answers for
// all. Upstream copied its configuration from the native server's before, so
// that one would be too late.
func addHealthChecks(kube *kubeapiserver.Config, cfg Config) {
	outermost := &kube.Aggregator.GenericConfig.Config
	// The copies share their memory: without this, an element that one server
	// appends later replaces ours.
	for _, checks := range []*[]healthz.HealthChecker{&outermost.HealthzChecks, &outermost.LivezChecks, &outermost.ReadyzChecks} {
		*checks = slices.Clip(*checks)
	}
	ready := func(*http.Request) error { return cfg.Backend.Ready() }
	// A store that cannot write must not be offered traffic; one that can is
	// no reason to restart the process, so this is readiness, not liveness.
	for _, name := range []string{"store", "etcd", "etcd-readiness"} {
		outermost.AddReadyzChecks(healthz.NamedCheck(name, ready))
	}
	outermost.AddHealthzChecks(healthz.NamedCheck("etcd", ready))
	outermost.AddLivezChecks(healthz.NamedCheck("etcd", func(*http.Request) error { return nil }))
	if cfg.Entrance != nil {
		outermost.AddReadyzChecks(healthz.NamedCheck("entrance", func(*http.Request) error { return cfg.Entrance() }))
	}
}

// addServiceRepairHook stands for upstream's repair of Service addresses, which
// a virtual cluster's host does.
func addServiceRepairHook(server *genericapiserver.GenericAPIServer) error {
	return server.AddPostStartHook(serviceRepairHook, func(genericapiserver.PostStartHookContext) error { return nil })
}
