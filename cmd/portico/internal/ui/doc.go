// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package ui is the page of portico ui: the virtual clusters of a host in a
// browser, with buttons for some commands of portico.
//
// It knows no cluster and has no credentials: a Source looks and acts, with the
// rights of the person who started it. It is for one person on one machine, and
// no service for others.
//
// # Invariants
//
//   - Nothing is shown and nothing is done without the session, whose cookie the
//     link on the terminal gives out once.
//   - A request is refused unless its Host is this listener's: a name of a
//     stranger that leads to this machine (DNS rebinding) opens nothing.
//   - Something is done only on a POST of the same origin with the form's token.
//   - The pages need no script, and their policy forbids any.
//   - At most one piece of work runs for a cluster.
//   - A browser sends the cookie to this listener only. Cookies do not tell ports
//     apart, so its path is one that no other program of the machine knows.
//
// # Map
//
//	source.go  Source; clusters as the pages show them
//	server.go  Server and its routes
//	guard.go   the link, the session, and refusals
//	work.go    pieces of work in the background
//	render.go  templates, and the words for sizes and times
package ui
