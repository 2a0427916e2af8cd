// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package demo shows on one machine, with nothing installed, what Portico
// does: a host cluster with simulated nodes and a virtual cluster in one of
// its namespaces, a Deployment in the virtual one, and the same objects as
// both sides see them.
//
// What it prints it has verified: the demo fails when the host has a
// Deployment, or a namespace of the tenant's, or when a pod of one side is not
// the pod of the other. It talks to both clusters as any client would, and
// knows nothing of Portico's insides.
//
// # Map
//
//	demo.go      Run, from an empty directory to the end
//	clusters.go  the two child processes; also used by the benchmarks
//	walk.go      what a user does in the virtual cluster
//	views.go     what both sides see, and that it is as it should be
//	table.go     two views side by side
//	progress.go  what a person reads while waiting
package demo
