// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package tokens gives the containers of a virtual cluster's pods their service
// account tokens: real tokens of the virtual API server, bound to the pod, in
// one host Secret per pod that the pod's projected volumes read.
//
// It is not a signer. Tokens come from the virtual API's TokenRequest, so the
// virtual cluster decides on audiences and lifetimes. It also writes nothing
// into the virtual cluster.
//
// The pod exists on the host before its tokens: a token is bound to the pod's
// uid, and the host gives that uid. The Secret is written as soon as the pod is
// seen on a node, which the tokens name too, while the kubelet is still
// preparing the pod; until then the kubelet retries the mount. After 80 % of a
// token's life the Secret is written again, and the kubelet brings the new
// content into the running container.
//
// # Invariants
//
//   - The Secret goes with the pod instance; see package podsecret.
//   - No token is logged, put into an error, an annotation or an event, or kept
//     in memory after it was written.
//
// # Map
//
//	tokens.go  Controller: when the Secret of a pod is written
//	mint.go    requests for tokens
package tokens
