// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package occupancy knows how much room the host's pods take on its nodes, for a
// scheduler inside a virtual cluster, which sees only pods of its own.
//
// It chooses no node and writes nothing: virtual nodes show the room that is
// left (sync/nodes), and a binding for which there is none is refused
// (proxy/host). It does not know pods on the way: a pod that another scheduler
// has chosen a node for counts once it is bound there.
//
// # Invariants
//
//   - A pod of others leaves nothing here but its node, the requests that count
//     and its ports of the node.
//   - A pod is this cluster's by the host namespace and the label together. Another
//     cluster of the same name in another namespace is another's.
//   - Sums are upstream's: those of the scheduler and of the kubelet, for pods that
//     are resized as well.
//   - A node whose kubelet refuses pods is left alone for a while, so that a
//     controller that makes a refused pod again does not do so without end.
//
// # Map
//
//	room.go     Room: the pods of the host by node, and the room that others take
//	fits.go     whether a pod has room on a node
//	refused.go  nodes whose kubelets have refused pods
package occupancy
