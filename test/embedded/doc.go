// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package embedded gives tests a host cluster with simulated nodes and virtual
// clusters in it, all on loopback: two kinds of child processes, "porticod
// host" and "porticod serve", reached with client-go on both sides.
//
// The children are the test binary itself, so nothing has to be installed or
// built beforehand. A package that uses it calls [Main] from its TestMain.
//
// It is for tests only. No container runs here: anything that needs a kubelet
// belongs into test/e2e on the lab.
//
// # Invariants
//
//   - The host is shared by all tests of a package unless a test asks for a
//     private one; each virtual cluster has a host namespace of its own.
//   - A child never outlives the test binary.
//   - Nothing waits for longer than [Patience], and nothing sleeps.
//
// # Map
//
//	process.go   Main; a porticod as a child process
//	host.go      the embedded host cluster
//	cluster.go   a virtual cluster of one test
//	gateway.go   a gateway in front of some, and its tokens
//	measurements.go  the operator's listener
//	objects.go   the objects that most tests need
package embedded
