// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package etcdclient dresses an in-process [Engine] as the etcd client's Go
// interfaces, as far as upstream's etcd3 storage and its tests use them. There
// is no gRPC, no serialisation and no socket: a read is a lookup in memory.
//
//	clientv3.KV           kv.go      requests built by the etcd client itself
//	kubernetes.Interface  k8s.go     what etcd3 calls on its hot paths
//	clientv3.Watcher      watch.go
//	clientv3.Lease        lease.go
//	clientv3.Maintenance  maintenance.go
//
// Errors are those of package rpctypes, which upstream compares with errors.Is,
// or errors of package store as they are.
//
// # What it is not
//
// It is no etcd: authentication, clusters, elections and snapshots over the
// wire are not there. Cluster and Auth of the client are nil.
//
// # Invariants
//
//   - Values handed out are the store's own memory and must not be modified.
//     The store copies values that it is given.
//   - A list, streamed or not, is of one revision.
//   - A stream that was cut short ends with an error, never like a complete one.
package etcdclient
