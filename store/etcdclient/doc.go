// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package etcdclient dresses an in-process [Engine] as the etcd client's Go
// interfaces, as far as upstream's etcd3 storage and its tests use them. There
// is no gRPC, no serialisation and no socket: a read is a lookup in memory.
//
// Errors are those of package rpctypes, which upstream compares with errors.Is,
// or errors of package store as they are.
//
// It is not an etcd: it has no authentication, clusters, elections or snapshots
// over the wire. Cluster and Auth of the client are nil.
//
// # Invariants
//
//   - Values handed out are the store's own memory and must not be modified.
//     The store copies values that it is given.
//   - A list, streamed or not, is of one revision.
//   - A stream that was cut short ends with an error, never like a complete one.
//
// # Map
//
//	client.go       Client
//	kv.go           clientv3.KV: requests built by the etcd client itself
//	k8s.go          kubernetes.Interface: the calls of etcd3's hot paths
//	txn.go          transactions
//	stream.go       lists in parts
//	watch.go        clientv3.Watcher
//	lease.go        clientv3.Lease
//	maintenance.go  clientv3.Maintenance
package etcdclient
