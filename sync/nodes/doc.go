// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package nodes keeps the Nodes that a tenant sees. Without a right to read the
// host's nodes they are made up from the names that pods carry (Controller);
// with it they show host nodes as they are (Mirror): all, those with given
// labels, or those that run a pod of the tenant.
//
// It is not a node agent. Nothing here speaks to a kubelet, and nothing that a
// tenant does to a Node reaches the host. Heartbeats are not passed on: no
// controller of a virtual cluster waits for them, and at one write per node
// every ten seconds they would be most of the writes. So there are no Leases in
// kube-node-lease either.
//
// # Invariants
//
//   - A made-up Node exists while a pod names it in spec.nodeName, and some
//     time after the last one is gone, so that a rolling update does not make
//     nodes come and go. Its status is written once per Heartbeat, however many
//     pods there are.
//   - A mirrored Node is written when the host node changes in more than the
//     time of its last heartbeat, and not otherwise.
//   - Only Nodes that carry the label portico.dev/fake-node or the annotation
//     portico.dev/host-node are ours to remove. A Node that the tenant made is
//     left alone, unless it has the name of a host node that is shown: then it
//     becomes that node.
//   - All that a tenant adds to a Node of ours (labels, annotations, taints, a
//     cordon, extended resources) stays until the Node goes. Where the host
//     contributes, the host wins at once.
//
// # Map
//
//	nodes.go   Controller: when a made-up Node is made, refreshed and removed
//	fake.go    how a made-up Node looks
//	mirror.go  Mirror: when a Node follows a host node
//	merge.go   which part of a mirrored Node belongs to whom
//	judge.go   writes of tenants that would have no effect
//	shown.go   the parts of a host node that are not shown
//	usage.go   which nodes run pods of the tenant
package nodes
