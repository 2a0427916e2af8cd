// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package nodeproxy serves nodes/proxy of a virtual cluster: what monitoring asks kubelets, reduced to the cluster's own pods.
//
// It is not a proxy. A tenant can make a Node with any address and ask for any path, and a kubelet's API can run commands in
// every pod of the node, so nothing of a request is passed on. A request chooses from a short list of questions that this
// package asks by itself, through the host's API, about a host node that the virtual cluster shows.
//
// Invariants:
//
//   - The node is one that Shown vouches for, which does not ask the virtual cluster. A port or scheme is refused.
//   - The path is compared, whole, with the keys of one map. Paths are not cleaned or decoded here, so there is no way around
//     that comparison, and no part of a request's path, query, headers or body reaches the host.
//   - Of an answer, only what names a pod of the virtual cluster by its exact host name, or is about the node as a whole by a
//     list of metrics, is shown. All else is dropped, also what a future kubelet adds.
//
// Files:
//
//	nodeproxy.go   Server: which node and which question
//	summary.go     /stats/summary
//	metrics.go     /metrics/...
package nodeproxy
