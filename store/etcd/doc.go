// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package etcd is a store.Backend on an etcd that others may share: further
// processes of the same virtual cluster, further virtual clusters, or the
// host's own API server. The client is etcd's own.
//
// # Parts of one virtual cluster
//
// All keys below one prefix ([Options.Prefix]) belong to it; the caller puts
// the prefix in front of each key. Revisions, history and free space belong to
// etcd, and so are common to all its users.
//
// # Compaction
//
// etcd keeps all history until a client gives it up. Every process gives up
// history older than Options.Retention; processes of one cluster take turns by
// comparing and swapping a key below the prefix, as kube-apiservers do
// (k8s.io/apiserver/pkg/storage/etcd3/compact.go). Several clusters in one etcd
// each compact it: each only gives up history older than its own retention, so
// the shortest retention holds for all.
//
// # Limits
//
// It does not start, back up, restore or defragment an etcd, and it is not a
// store.Exclusive: others may have written since the last write of this
// process.
//
// # Map
//
//	options.go     Options
//	backend.go     Backend: Open, Close, the store.Backend methods
//	health.go      whether etcd would take a write now
//	compaction.go  giving up history
package etcd
