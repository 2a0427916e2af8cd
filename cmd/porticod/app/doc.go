// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package app is the only wiring point of porticod: it builds the parts from
// configuration and runs them until it is told to stop.
//
// It holds no behaviour of its own. What a command does is in the packages it
// wires; what is here is the order in which parts start and end, and what
// happens to the rest when one fails.
//
// # Files
//
//   - app.go: the command tree and how errors reach a person
//   - controlplane.go: an embedded API server with its store and controllers
//   - serve.go: porticod serve, a virtual cluster
//   - host.go: porticod host, an embedded host cluster for demos and tests
//   - check.go: porticod check, an offline look at a data directory
//   - demo.go: porticod demo
//   - logging.go: where logs go
//   - memory.go: what the garbage collector is told
package app
