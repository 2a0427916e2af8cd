// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package custom copies objects of kinds that have no row in package kinds, as the
// operator configures: those of the tenant to the host, whose controllers act on
// them, or those of the host into the virtual cluster.
//
// The rules of a translation are rewrite.CustomKind, and rewrites are those of
// package expressions; nothing here knows a kind. A copy on the host is not
// compared with what the tenant wants, but with the content that it was given:
// so a controller of the host, which insists on a field, and one inside, which
// insists on the same, do not write for ever.
//
// # Invariants
//
//   - An object that could lead to objects of others does not reach the host, and
//     has an Event.
//   - A field of a copy changes only when the tenant's changes.
//   - A status is written inside only when the host's changes.
//   - A Secret comes back only under the host name that no other object has.
//   - A definition (CustomResourceDefinition) that is the tenant's own stays, and
//     one that shows the host's goes only by the tenant: their objects would go
//     with it.
//
// # Map
//
//	custom.go      Config, Controller: a kind that is copied to the host
//	objects.go     one object of it; returned.go  Secrets that the host makes for it
//	fromhost.go    Mirror: a kind that is shown inside
//	versions.go    either of them, in the version that objects are written in
//	definition.go  the definition of the kind inside
//	dryrun.go      the same for a look, without a write
//	client.go      clients and informers of objects without types
package custom
