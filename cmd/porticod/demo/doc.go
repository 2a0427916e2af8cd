// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package demo shows Portico's work on one machine, with nothing installed: a
// host cluster with simulated nodes and a virtual cluster in one of its
// namespaces, a Deployment in the virtual one, and the same objects as both
// sides see them.
//
// It verifies everything that it prints: the demo fails when the host has a
// Deployment, or a namespace of the tenant's, or when a pod of one side is not
// the pod of the other. It talks to both clusters as any client would, and
// knows nothing of Portico's insides.
//
// # Map
//
//	demo.go      Run, from an empty directory to the end
//	clusters.go  the two child processes; also used by the benchmarks
//	walk.go      a user's steps in the virtual cluster
//	views.go     the views of both sides, and the checks of them
//	table.go     two views side by side
//	progress.go  lines to read while waiting
package demo
