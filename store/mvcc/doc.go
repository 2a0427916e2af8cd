// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package mvcc is the in-memory half of a store: every key with all its
// retained versions, the log of changes in revision order, the watchers of
// that log, and the leases. All reads and watches are answered from here.
//
// It is not durable and does no I/O. The owner of an [Index] evaluates writes
// in a [Batch], makes the batch's versions durable somewhere, and only then
// calls [Index.Publish].
//
//	         tree (copy on write)              log (append only)
//	┌──────────────────────────────┐     ┌───┬───┬───┬───┬───┬───┐
//	│ "/a" ─ chain ─ v7 → v3 → v2  │     │ 2 │ 3 │ 4 │ 5 │ 6 │ 7 │ → watchers
//	│ "/b" ─ chain ─ v4            │     └───┴───┴───┴───┴───┴───┘
//	│ "/c" ─ chain ─ ✝6 → v5       │       the same *Version values
//	└──────────────────────────────┘
//
// # Concurrency
//
// One goroutine at a time may use a Batch and Publish it (the writer). Readers
// take a [View] without any lock: an immutable tree of keys plus a revision;
// new versions are prepended to a key's chain, so a reader finds the newest
// version that is not newer than its revision. A chain is only ever cut below
// the newest version at or before the compact revision, after the compact
// revision was raised; a reader that checks [View.Err] after reading therefore
// never mistakes a cut for an absent key.
//
// # Invariants
//
//   - Revisions are dense: every committed transaction that changes anything
//     takes the next one. The first is 2, as in etcd.
//   - Values handed out are shared and must not be modified.
//   - A change after the compact revision always still has its previous
//     version, so that a watch can deliver it.
//   - A batch is visible to readers and watchers as a whole.
//
// # Map
//
//	version.go   one version of one key, and the chain of a key
//	index.go     Index, publication of a batch
//	view.go      reads at a revision
//	batch.go     evaluation of writes before they are durable
//	watch.go     watchers: registration, wake-up, delivery
//	prefix.go    the last revision under a prefix
//	size.go      how many bytes are live, and how many are history
//	lease.go     leases and their keys
//	compact.go   giving up history
//	loader.go    rebuilding an Index from a log, with consistency checks
package mvcc
