// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package metrics serves the measurements of a process twice: all of them to its
// operator, on a listener of its own, and to the tenant those alone that an
// ordinary API server would have.
//
// It measures nothing. The parts of the process register their measurements
// with upstream's registry, or bring a registry of their own.
//
// # Invariants
//
//   - A tenant reads no measurement of the process, of the host, or of the way
//     to it. The list names families that pass, so that a new one does not.
//   - A tenant cannot reset the operator's measurements.
//   - The operator's listener speaks TLS only, and answers no client without
//     the token of the cluster.
//   - A measurement that cannot be made is left out. Its error is for the
//     operator's log, and no tenant reads it.
//   - No series has a label with a tenant's names in it.
//
// # Map
//
//	listener.go  Listener: everything, for the operator
//	tenant.go    ForTenants: the families of an API server
package metrics
