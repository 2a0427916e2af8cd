// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package controllers runs upstream's kube-controller-manager controllers, and
// where it is asked for also its scheduler, inside this process.
//
// They are upstream's own constructors, called as upstream's manager calls them,
// with two differences: they share the informers of the API server in the same
// process, so that no object is held in memory twice, and each of them speaks to
// the API server as its own service account by impersonation, so that no token
// has to be minted for it.
//
// It is not a place for controllers of ours (those are the other packages under
// sync/), and it is no server: there is no port, no health endpoint and no leader
// election here.
//
// # Invariants
//
//   - Every controller that upstream knows is in exactly one row of the table in
//     selection.go, with a reason for each mode in which it does not run. A test
//     compares the table with upstream, so a new Kubernetes version that adds,
//     removes or renames a controller fails it.
//   - This package and proxy/apiserver are the only importers of
//     k8s.io/kubernetes.
//   - A controller that cannot be built, or that panics in its own goroutine, ends
//     Run with an error. A panic in a goroutine that a controller starts for itself
//     is logged with its stack and ends the process; upstream does the same.
//
// # Map
//
//	selection.go  which controllers run in which mode, and why not
//	config.go     Config, Mode and upstream's component configuration derived from them
//	clients.go    clients that act as the controllers' service accounts
//	run.go        Run: build, start, wait; late.go  controllers that are made when their kind is used
//	informers.go  event handlers that wait until every controller is built
//	tokens.go     the controller that fills service account token Secrets
//	scheduler.go  upstream's scheduler
//	placement.go  its plugin that asks for refusals of the host
package controllers
