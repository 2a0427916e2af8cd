// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package variables keeps the variables by which containers find Services, in one
// host ConfigMap for each virtual namespace that has had pods, and one for pods
// that want none but those of the API server. Host pods read them (env.go in
// package rewrite): the kubelet would write those of the host namespace.
//
// It does not know the names of variables: rewrite.ServiceVariables does.
//
// # Invariants
//
//   - The ConfigMap is on the host before a pod that reads it, in every replica,
//     with the Services that the replica knows of by then.
//   - It goes when the virtual namespace has gone, which the API is asked for, and
//     not with the last pod: a pod may be on its way.
//   - An informer that has not been filled yet never takes a variable away.
//   - A host ConfigMap that is not ours is never touched.
//
// # Map
//
//	variables.go  Controller: the loop of the leader
//	ensure.go     Ensure: before a pod
package variables
