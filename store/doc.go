// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package store is the contract between the embedded API server and the place
// where a virtual cluster's own objects are kept.
//
// The contract is deliberately etcd's: a [Backend] hands out one etcd client
// value whose interfaces are implemented in-process, and upstream's etcd3
// storage runs on top of it unmodified. This buys encryption at rest, corrupt
// object handling, streamed lists, watch lists and upstream's own test suites,
// and a real etcd, or a database behind kine, stands in the same place.
//
// # Limits
//
// This package knows nothing of Kubernetes objects, of virtual clusters or of
// hosts. It does not import k8s.io/apiserver, so that its tests build in
// seconds.
//
// # Invariants of every Backend
//
//   - A write that was acknowledged is on disk. A write that failed is either
//     not there or, when the error says so, of unknown outcome; it is never
//     half there.
//   - Revisions only grow, across restarts too, and are never 0.
//   - A watch delivers every change of its range after its start revision,
//     once, in revision order; a progress notification at revision N comes
//     after every change up to N.
//   - A compacted revision is reported as compacted, never as absent.
//
// # Packages
//
//	store             the contract and its errors
//	store/mvcc        the in-memory multi-version index: reads, watches, leases
//	store/sqlite      the default engine: the index, made durable in one file
//	store/etcdclient  an engine dressed as the etcd client's Go interfaces
//	store/etcd        an etcd that others may share
//	store/kine        PostgreSQL, MySQL or MariaDB, dressed as an etcd by kine
//	store/limit       how many bytes a virtual cluster keeps at most
//	store/storetest   suites any Backend must pass; for tests only
//
// # Map
//
//	backend.go  Backend: the duties of an engine
//	errors.go  errors that every engine returns
package store
