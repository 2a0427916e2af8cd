// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package forward gives a virtual cluster an address on this machine, by
// forwarding connections through the host's API to a pod of porticod.
//
// # Invariants
//
//   - The address stays the same for as long as the forward runs: a lost pod is
//     replaced by another ready one at the next connection.
//   - It listens on the loopback address only.
//   - A background forward ends when its file goes, by itself. So it is ended
//     without a signal, and no process is ever ended by a number that may be
//     another's by now.
//
// # Map
//
//	listener.go    Listener: connections in, streams out
//	dialer.go      Dialer: to a ready pod, through the host's API
//	background.go  Background: the file of a forward that outlives its command
//	child.go       the process behind such a file
//	detach_unix.go detach_windows.go  a child that no terminal ends
package forward
