// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package imports shows chosen ConfigMaps and Secrets of the host inside, under
// names that the operator chose, and follows them.
//
// It is not a way from one tenant to another, nor to what a host namespace keeps
// for itself: an object that belongs to some virtual cluster is never shown, and
// neither is a token of a ServiceAccount.
//
// # Invariants
//
//   - An object is shown only if a Source names it. Several sources of one virtual
//     name are asked in their order.
//   - Only virtual objects with the annotation portico.dev/host-object are ours to
//     change or remove. One that the tenant made under the same name is left alone.
//   - No label, annotation or owner of the host's object is shown.
//   - Without sources, objects of an earlier configuration go at the next start.
//
// # Map
//
//	imports.go  Controller: when an object is shown, changed and removed
//	source.go   Source, and which host object a virtual one shows
//	view.go     ConfigMaps and Secrets as they are shown
//	judge.go    writes of tenants that would have no effect
package imports
