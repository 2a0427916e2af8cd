// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package leader decides which one of several replicas works: runs the
// controllers and keeps the host in step.
//
// The replicas compete for a Lease of the virtual cluster, with client-go's
// leader election. The package adds the order of things at the end of a term. A
// leader that is to stop gives the Lease up after its work has ended, so that
// the next one begins at once and never next to it. A leader that could not
// renew the Lease in time is deposed: its work is ended, and the rest of it
// cannot write.
//
// It is not a lock around single writes. An API server does not know who leads.
// Between the moment at which a request was checked and the one at which it is
// carried out, a process can be stopped for any time; it then writes one request
// with the resourceVersion or the name of back then.
//
// # Invariants
//
//   - Work runs in at most one replica, as long as no process is stopped between
//     its check and its request.
//   - The clock of a Lease is the monotonic clock of the process that looks at it.
//     Clocks of two machines are never compared.
//   - The time of a term is counted from before the request that renewed it,
//     because it may have taken long.
//
// # Map
//
//	leader.go  Elector
//	fence.go   refusing requests of a deposed leader
package leader
