// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package limit bounds the bytes that a virtual cluster keeps in its store.
//
// The bytes used are those of all keys and their present values. History is not
// counted here: it goes by itself, and the SQLite engine gives it up early when
// it grows (sqlite.Options.MaxHistory).
//
// # Writes
//
//	write                                             allowed up to
//	a deletion; an update that does not grow          always
//	an update that grows by 1 KiB or less             limit and reserve
//	any write that is essential (Options.Essential)   limit and reserve
//	every other                                       limit
//
// So a full cluster can be emptied: an object with finalizers is deleted by
// updates, the first of which adds a timestamp. Heartbeats and elections go on.
// The reserve is a sixteenth of the limit, and at most 64 MiB.
//
// A write that is refused is not sent to the store. Its error is a [FullError],
// which upstream's handlers answer as a Status (403, as for a ResourceQuota that
// is exceeded).
//
// # Exactness
//
// Writes that are on their way are counted as if they had happened, so that
// many at a time do not pass the limit together. With an engine that knows its
// bytes ([Meter]) the limit is exact. On a shared store the bytes are counted
// by a [Counter] from a watch, so that writes can pass the limit in the moment
// that the watch is behind, and so can other replicas in that moment. Until the
// Counter has read everything once, there is no limit.
//
// # Map
//
//	limit.go     New: a Backend with a limit
//	gate.go      which writes pass
//	counter.go   Counter: the bytes below a prefix of a shared store
//	full.go      FullError
package limit
