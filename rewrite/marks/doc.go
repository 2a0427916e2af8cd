// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package marks has the annotations by which a control plane that rests is known
// on its host: paused by a person, or asleep until a client comes. The programs
// that let it rest and those that wake it agree here, and those that lead to it.
//
// It writes nothing: it reads annotations and makes patches.
//
// # Invariants
//
//   - A number of replicas and the reason for it are in one patch.
//   - A patch that ends a sleep, or begins one, is for one version of a workload.
//   - A pause is stronger than a sleep.
//
// # Map
//
//	marks.go    annotations, Rest, patches
//	gateway.go  Gateway: the announcement of one, names of its tokens
package marks
