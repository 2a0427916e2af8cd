// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package activity notes who uses a virtual cluster, and when, so that one that
// nobody uses can go to sleep.
//
// It decides on no request and changes none. It counts nothing and keeps no
// history: the last user is all that it knows.
//
// # Invariants
//
//   - Only requests count that were authenticated and permitted: a stranger keeps
//     no cluster awake.
//   - Nothing that goes on by itself counts: not a watch that stays open, not the
//     cluster's own controllers, not probes, leases or measurements.
//   - A stream that a user has opened counts until it ends, because its silence
//     looks like its pings from here.
//
// # Map
//
//	judge.go     Judge: whether a request is a user's
//	recorder.go  Recorder: the last one; the filter of an API server
package activity
