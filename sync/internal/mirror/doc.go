// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package mirror shows objects of the host inside the virtual cluster: it makes,
// changes and removes the virtual ones.
//
// A [Kind] has the particulars of a kind: which virtual objects show one of the
// host, and which fields of a shown object follow the host. When an object is
// shown is the caller's to decide.
//
// # Invariants
//
//   - An object that the tenant made is never changed or removed.
//   - Every deletion is of the object that was seen: it has the uid as a
//     precondition. Updates carry the resourceVersion.
//   - Nothing is waited for. If an informer is behind, its event brings the
//     object to the caller again.
//
// # Map
//
//	mirror.go   Kind, Client, Object
//	changes.go  the fields that a write changes
package mirror
