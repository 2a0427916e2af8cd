// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package every brings every object of a pushed kind to the host, which acts on
// the copies: PodDisruptionBudgets, by which it drains its nodes, and Ingresses.
//
// It does not know the kinds; a row of package kinds says all about one. Kinds
// with more to do than copies have a package of their own, such as policies, and
// objects that are copied for the pods that name them are push's.
//
// # Invariants
//
//   - A copy is there exactly while its virtual object is, unless the host refuses
//     it, it is not wanted or there are too many.
//   - An object without a copy that it should have has an Event.
//
// # Map
//
//	every.go  Config, Controller
package every
