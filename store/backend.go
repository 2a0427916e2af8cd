// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"
)

// Backend is a key-value store that speaks etcd's client interfaces: in-process
// where this process is the store's only writer (see [Exclusive]), over a
// connection where others share it.
//
// All methods may be called concurrently, and none but Close blocks on a disk
// or a network.
type Backend interface {
	// Client returns the etcd client that upstream's etcd3 storage is built
	// on. It is one shared value: closing it is the Backend's business.
	// Nothing in the API server calls its Cluster and Auth interfaces, which
	// may be nil.
	Client() *etcdk8s.Client

	// CompactRevision returns the revision up to which history was given up.
	// It has the shape of upstream's etcd3.Compactor.
	CompactRevision() int64

	// Ready returns nil if a write would be accepted now, and otherwise why
	// not. It recovers by itself when the cause is gone.
	Ready() error

	// Close stops the background work, ends all watches and releases the
	// store. Writes in flight fail with ErrClosed.
	Close() error
}

// Exclusive is a Backend of which this process is the only writer, so that it
// knows the last write of each key without asking another server.
type Exclusive interface {
	Backend

	// PrefixRevision returns the revision of the last change to any key with
	// the prefix, or a later one at which the prefix had the same content. It
	// is never 0. A consistent list that waits for this revision, instead of
	// the store's global one, does not wait for writes to other prefixes and
	// is still linearizable.
	PrefixRevision(prefix string) int64
}
