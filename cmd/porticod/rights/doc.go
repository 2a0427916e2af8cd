// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package rights knows the rights that porticod needs on its host: one table,
// from which the Role, the ClusterRole, the documentation and the checks at a
// start come.
//
// It grants nothing and asks no host; it does not link the server, so that a
// chart and a command line tool can use it.
//
// # Invariants
//
//   - A right that only some configurations need is in a grant with a condition.
//   - Everything cluster-wide is in a grant of its own, with the reason.
//   - A right in another namespace is in a grant for that namespace alone, which
//     the configuration names.
//   - The result for a configuration has no rule twice and the order of the table.
//
// # Map
//
//	rights.go   Grant, Of
//	table.go    the table
//	removal.go  those that the removal of a cluster needs
//	excess.go   a credential's rights beyond it
//	yaml.go     the Role and ClusterRole as people read them
package rights
