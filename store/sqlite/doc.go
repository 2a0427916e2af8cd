// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package sqlite is the default store: one SQLite file, written by one
// goroutine, read never. Everything that a client can ask is answered from the
// in-memory index of package mvcc; the file exists to survive.
//
// # The write path
//
//	 callers                writer goroutine                     disk
//	─────────┐
//	 Update ─┤         ┌─ take all that is queued
//	 Update ─┼─ queue ─┤  evaluate each against the tip,
//	 Update ─┘         │  earlier ones of the batch included
//	    ▲              │  BEGIN; INSERT ...; COMMIT ──────────► WAL, fsync
//	    │              │  publish: tree, log, watchers ◄──────── done
//	    └── answer ────┴─ wake the callers
//
// Writes that queue up while one batch is being synced are the next batch:
// group commit without a timer. A compare-and-swap is decided in memory; one
// that fails never reaches the disk.
//
// The checkpoint that moves the WAL into the file runs on a second connection,
// off the write path. Deleting compacted rows and shrinking the file are small
// jobs that the writer does between batches.
//
// # The file
//
// The table log has a row for each change, keyed by a sequence number and
// without any secondary index, because it is only ever appended to, deleted
// from by key, and scanned once at start. Each row has a checksum. The table
// lease has the leases, the table meta the schema version and the compact
// revision. The header carries Portico's application id.
//
// # Invariants
//
//   - No caller gets a success before the commit was synced (with durability
//     full) and nothing is published before it.
//   - If a commit fails its outcome is unknown, so no further batch is written
//     before the connection was reopened and all rows that memory does not know
//     were removed from the file. Until then every write fails with
//     store.ErrUnavailable, and Ready says why. Reads go on.
//   - After a failure writes are accepted again only when the disk took minRoom
//     bytes, so that a disk that is nearly full does not flap. Compaction goes
//     on as soon as the file is usable: it may make room.
//   - Rows are deleted only after the compact revision that allows it is on
//     disk.
//   - A file that is not ours, newer, in use or damaged is never modified.
//
// # Map
//
//	options.go     Options
//	engine.go      Engine: Open, Close, the store.Backend methods
//	writer.go      the queue and the writer goroutine
//	disk.go        the writer's connection and its statements
//	schema.go      creating a file, recognising a file
//	wal.go         damage in the WAL that SQLite does not report
//	load.go        reading the log back into an index
//	recover.go     from a failed commit back to service
//	compact.go     history, garbage, file size
//	checkpoint.go  the WAL
//	lease.go       expiry of leases
//	lock.go        one process at a time
//	check.go       offline verification
//	snapshot.go    snapshots: their form, and the check of one
//	save.go        making one, of a store in use or not
//	restore.go     making a store of one
package sqlite
