// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package nslabels keeps the labels of virtual namespaces on the host pods in
// them, under the keys that namespace selectors are translated to. A pod has
// them from its creation; here they follow changes.
//
// It does not touch anything else of a pod, and needs no memory of its pods: it
// asks the host when a namespace changes.
//
// # Invariants
//
//   - A pod whose creation began before a change, or before its namespace was
//     seen, is looked at again after the creation must have ended.
//   - Writes are merge patches of these keys only, so they cannot undo other
//     writes of the same time.
//   - Writes are rate-limited: a namespace with thousands of pods must not keep
//     the host from its work.
//
// # Map
//
//	nslabels.go  Controller
package nslabels
