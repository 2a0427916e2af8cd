// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package conditions reports on the host how a virtual cluster is: one Event
// when something is wrong, again while it lasts, and one when it is over.
//
// It repairs nothing and decides nothing, and does not know the things that it
// is asked to look at: each is a function that names the trouble. A host that is
// away gets no Events; /readyz and the measurements show it.
//
// # Invariants
//
//   - The last Event of a reason says how it is, as far as one leader has seen
//     it: a warning while it is wrong. The state is in memory. A new leader begins
//     with ClusterReady, repeats the warnings that still hold, and does not know
//     of those that are over.
//   - A condition that does not change makes no Event, except that a warning is
//     repeated before the host forgets it.
//   - No Event has the name of a tenant's object.
//
// # Map
//
//	conditions.go  Controller: the loop
package conditions
