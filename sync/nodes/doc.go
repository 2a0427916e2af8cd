// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package nodes keeps the Nodes that a tenant sees in the fake mode: one per host node that a pod of the tenant is on,
// made up from the name alone, because a virtual cluster has no right to read the host's nodes.
//
// What it is not: a node agent. Nothing runs on these nodes, and nothing here speaks to a kubelet.
//
// Invariants:
//
//   - A Node exists while a pod names it in spec.nodeName, and some time after the last one is gone, so that a rolling
//     update does not make nodes come and go.
//   - Only Nodes that carry the label portico.dev/fake-node are ours. One that the tenant made under the same name is left
//     alone, and what the tenant adds to ours (labels, annotations, taints) stays until the Node goes.
//   - A Node's status is written when it is made and then once per Heartbeat, however many pods come and go.
//
// Files:
//
//	nodes.go   Controller: when a Node is made, refreshed and removed
//	fake.go    what a made-up Node looks like
package nodes
