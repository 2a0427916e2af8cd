// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package nodeproxy serves nodes/proxy of a virtual cluster: the answers of
// kubelets that monitoring asks for, reduced to the cluster's own pods.
//
// It is not a proxy. A tenant can make a Node with any address and ask for any
// path, and a kubelet's API can run commands in every pod of the node, so
// nothing of a request is passed on. A request chooses from a short list of
// questions; this package asks them itself, through the host's API, about a host
// node that the virtual cluster shows.
//
// # Invariants
//
//   - The node is one that Shown vouches for, which does not ask the virtual
//     cluster. A port or scheme is refused.
//   - The path is compared, whole, with the keys of one map. Paths are not
//     cleaned or decoded here, so no path gets around that comparison, and no
//     part of a request's path, query, headers or body reaches the host.
//   - An answer shows two things only: entries that name a pod of the virtual
//     cluster by its exact host name, and metrics of a list that are about the
//     node as a whole. The rest is dropped, also additions of a future kubelet.
//
// # Map
//
//	nodeproxy.go  Server: which node and which question
//	summary.go    /stats/summary
//	metrics.go    /metrics/...
package nodeproxy
