// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package inpod runs porticod's own commands in a pod of a virtual cluster, and
// reads its log.
//
// # Invariants
//
//   - Only a container of porticod is entered, in a pod that was found by the
//     label that no tenant can have.
//   - A command that failed is an error with its message, also when it has
//     written a part of its output.
//
// # Map
//
//	attach.go  Feed: the standard input of a pod
//	run.go   Run: a command, its streams and its exit code
//	pods.go  List: the pods of porticod; Log
package inpod
