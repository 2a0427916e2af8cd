// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package hostview is how the packages under sync/ look at their own objects on
// the host: informers that are scoped to one cluster by label, and that keep a
// digest of an object's content in place of the content.
//
// It is not a cache to read Secrets from: the content never stays in memory. Its
// use is to notice an object that is missing, left over, or changed.
//
// # Invariants
//
//   - Two objects have the same Digest exactly if a pod that mounts them sees the
//     same.
//   - Objects of the view carry AnnotationDigest in memory only; nothing writes it
//     to the host.
//
// # Map
//
//	hostview.go  NewFactory and its relatives, Observe, Digest, Changes
package hostview
