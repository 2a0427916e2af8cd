// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package copies writes objects of ours to the host: copies of a tenant's
// objects, and objects that were composed for pods.
//
// A [Kind] has the particulars of a kind: which host objects are ours, and how
// one becomes the wanted one. When an object is wanted is the caller's to
// decide.
//
// # Invariants
//
//   - A host object that is not ours is never changed or deleted. Whether it is
//     ours is asked of the host, not of an informer.
//   - Every patch, update and deletion is of the object that was read: it has
//     the uid as a precondition, and a write its resourceVersion as well.
//   - The informer is not believed about objects that this process has removed.
//   - An object is in step if it has the content, the labels and the annotations
//     that are wanted. Those that others added stay, unless the kind knows better.
//
// # Map
//
//	copies.go   Kind, Rules, Client, ErrForeign, Refused
//	removed.go  Removed
package copies
