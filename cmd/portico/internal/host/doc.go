// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package host opens the host cluster of a command.
//
// The host is the cluster of the current context, which may itself be a virtual
// one: then clusters are nested. There is one exception. A command about a
// virtual cluster goes to that cluster's host when the current context leads
// into that very cluster: a person who types "portico delete dev" while
// connected to dev means the dev that they see.
//
// # Invariants
//
//   - A cluster that is named like the one that a person is connected to is
//     never looked for inside of it, unless --context says so.
//
// # Map
//
//	host.go  Host, Options, Open
package host
