// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package tokens gives the containers of a virtual cluster's pods their service account tokens: real tokens of the virtual
// API server, bound to the pod, in one host Secret per pod that the pod's projected volumes read.
//
// What it is not: a signer. Tokens come from the virtual API's TokenRequest, so the virtual cluster decides on audiences and
// lifetimes. It also writes nothing into the virtual cluster.
//
// How a pod gets its tokens: the pod exists on the host first, because a token is bound to the pod's uid and that uid is
// the host's. The Secret is written as soon as the pod is seen on a node, which the tokens name too, while the kubelet is
// still preparing the pod; until it is there the kubelet retries the mount. After 80 % of a token's life the Secret is written anew and the kubelet brings the
// new content into the running container.
//
// Invariants:
//
//   - The Secret goes with the pod instance; see package podsecret.
//   - No token is logged, put into an error, an annotation or an event, or kept in memory after it was written.
//
// Files:
//
//	tokens.go   Manager: when a pod's Secret is written
//	mint.go     asking for tokens
package tokens
