// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package apiserver embeds Kubernetes' own API server in a process of ours.
//
// It composes the chain that kube-apiserver composes (custom resources, native
// resources, aggregator) from upstream's exported pieces, and changes the layer
// under it: each resource's storage.Interface. Validation, defaulting,
// admission, patches, server-side apply, tables, selectors, watch semantics and
// authorization stay upstream's code.
//
// One composition serves two kinds of cluster:
//
//   - a virtual cluster: pods, services and persistentvolumeclaims are stored
//     in a host cluster (package proxy/host), everything else in our backend;
//   - an ordinary cluster, all of whose kinds are in our backend. This is the
//     embedded host of demos and tests.
//
// It is not a fork and not a wrapper around upstream's command: it never calls
// app.Run, and no code in it dials etcd.
//
// # Invariants
//
//   - This package and sync/controllers are the only importers of
//     k8s.io/kubernetes. All code that relies on upstream's internals is here,
//     so an upgrade breaks here and nowhere else.
//   - A kind is served from exactly one storage for its whole life.
//   - A process embeds one API server: upstream keeps feature gates, the
//     component registry and metrics in process-global state.
//
// # Map
//
//	config.go           the caller's configuration, and upstream's options made of it
//	admission.go        which admission plugins a virtual cluster runs
//	podsecurity.go      the Pod Security Standard of the operator
//	audit.go            which requests are logged, and where to
//	chain.go            the server chain, in one function
//	generic.go          what its servers have in common; loopback.go  the client by which they reach themselves
//	bootstrap.go        the roles and priority classes that a server makes for itself
//	storage.go          which storage stands under which resource
//	core.go             the core group, where virtual and ordinary clusters differ
//	service.go          service hooks of a virtual cluster, address allocation of an ordinary one
//	dryrun.go           dry runs of translated kinds, which the host answers
//	streams.go          log, exec, attach, portforward and proxy of a virtual cluster
//	metrics.go          the measurements that a tenant may read
//	resourcemetrics.go  metrics.k8s.io of a virtual cluster, from its host
//	undone.go           writes that porticod would undo, or that have no effect
//	ownapis.go          APIServices that would replace what is served here
//	openapi.go          the published schemas, built when they are asked for; schemas.go  those of version 3
//	health.go           health checks, by the names that upstream's tools look for
//	storesize.go        the size of the store in upstream's metrics
//	kubernetes.go       the default/kubernetes endpoints
//	identity.go         removes traces that old API servers left of their machines
//	egress.go           the one way to addresses that a tenant's objects name
//	upstream.go         upstream's process-global switches
//	inputs.go  facts about other virtual objects that a translation needs
package apiserver
