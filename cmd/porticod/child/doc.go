// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package child runs porticod as a child process: starts it with its log in a
// file, waits until the cluster it serves answers, and ends it.
//
// One process embeds one cluster (upstream keeps process-global state), so the
// demo and the benchmarks, which need two or more, start children. It is not a
// supervisor: a child that ends is reported, never restarted.
//
// # Invariants
//
//   - A child is ended through its own process handle, never by name.
//   - A child does not outlive its parent on Linux, however the parent ends.
//   - A child that fails is reported with the end of its log.
//
// # Map
//
//	process.go                          Start, Stop, the error that carries the log's tail, and its print
//	ready.go                            from a kubeconfig file that is to appear to a cluster that answers
//	sysproc_linux.go sysproc_other.go   process groups and the parent's death
package child
