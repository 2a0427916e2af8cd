// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package policy says which addresses may be dialled on a tenant's word. It is
// pure: no I/O, no clock, no resolver. Package egress asks it for each address
// that it is about to dial, and the configuration for each allowed network.
//
// It does not know which addresses are the cluster's own; its callers do.
//
// # Invariants
//
//   - An address in the list of those that nothing permits is not permitted by
//     any entry, in any way of writing it.
//   - porticod's own listeners are permitted by no entry.
//
// # Map
//
//	policy.go  Policy and its rules
package policy
