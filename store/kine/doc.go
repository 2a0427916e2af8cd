// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package kine is a store.Backend on PostgreSQL, or on MySQL or MariaDB. The
// library kine (github.com/k3s-io/kine) makes an etcd of one table; it is spoken
// to over a connection that never leaves the process. No port and no socket is
// opened.
//
//	etcd client (package etcd) -> pipe -> kine's gRPC server -> order (settle.go) -> kine -> database/sql -> database
//
// Only kine's drivers for these databases are linked in.
//
// # Differences from an etcd
//
//   - One database belongs to one virtual cluster: kine has one table, reads all
//     changes in it, and compacts it.
//   - A transaction is one comparison and one change of the same key, which is
//     all that upstream's storage does. Keys cannot be deleted by range.
//   - Lists are not streamed.
//   - A lease is a time to live of keys and nothing else: it cannot be looked
//     at, prolonged or revoked. It begins again when a process starts.
//   - Versions of keys are not counted.
//   - Revisions have gaps, which kine fills with rows.
//   - Changes by other processes are seen when the table is next polled.
//   - A key has at most 630 bytes in MySQL.
//
// # Invariants
//
//   - A password is in no message: not in errors, and not in kine's log, whose
//     lines are dropped where they would show values of keys.
//   - Connections use TLS with verification, or none at all.
//   - Keys are compared byte by byte, in every database.
//   - An answer as of a revision contains everything that is committed before
//     it, by this process or another, now or later: a list and the watch from
//     there on together show everything.
//
// # Faults of the library
//
// These are kept from our users:
//
//   - Lists, and the beginnings of watches, may leave out rows that another
//     transaction commits late (settle.go, watch.go).
//   - A list that breaks off counts as whole (settle.go), a create that the
//     database refuses as done (write.go).
//   - Writers may use up all connections and wait for each other (write.go).
//   - Watches append to one array, all at once (watch.go).
//
// These are not:
//
//   - kine ends the process when the database goes away in the middle of the
//     commit of a compaction. porticod's supervisor has to start it again.
//   - A key with a lease that another process is just writing when this one
//     starts may not be seen by kine's worker for leases here, and then lives
//     until a process starts later.
//
// # Map
//
//	options.go   Options; package dsn has the connection strings
//	backend.go   Backend: Open, Close
//	settle.go    the order of revisions, and reads
//	watch.go     watches
//	write.go     writes
//	table.go     our own queries of the table, besides kine's
//	database.go  the check that the database answers and accepts us
//	log.go       kine's log
package kine
