// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package policies brings the NetworkPolicies of the virtual cluster to the
// host, whose network enforces them.
//
// Policies add up. Where the operator limits the connections of pods
// (rewrite.PolicyBounds), two policies of the operator's are on the host: one
// that allows as much as the bounds do, to pods without the label
// rewrite.LabelEgressPolicy, and one that allows nothing, to pods with it. This
// package gives the label to the pods that a tenant's policy on the host selects
// for egress. So a pod has the bounds, or the tenant's policies within the
// bounds; while labels and policies change, some pods may have less for a moment.
//
// # Invariants
//
//   - A host policy of ours is there exactly while its virtual policy is, unless
//     the host refuses it.
//   - In every order of writes, no pod may connect to anything out of the bounds.
//   - The label follows the policies that are on the host, and not those that the
//     host refused.
//
// # Map
//
//	policies.go  Controller: the copies
//	marks.go     the label of pods
package policies
