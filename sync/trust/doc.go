// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package trust brings the trust anchors of the virtual cluster's
// ClusterTrustBundles (KEP-3257) to the pods that project them. The kubelet
// would read the bundles of its own cluster, the host. In place of it, each
// question that a pod asks, a name or a signer and a selector, is answered here,
// in one host ConfigMap that all pods with this question share.
//
// It is not the store of bundles, which are the virtual cluster's own, and it
// does not judge them.
//
// # Invariants
//
//   - A ConfigMap is there exactly while a pod asks its question. One under a
//     former name is kept as long, and never made.
//   - As in the kubelet, the anchors of several bundles are put together, each
//     once, without the text between them.
//   - Without a bundle that answers, the ConfigMap lacks the key for pods whose
//     projection is not optional, so that they do not start.
//   - A host ConfigMap that is not ours is never touched.
//
// # Map
//
//	trust.go    Controller
//	anchors.go  the answer to a question
package trust
