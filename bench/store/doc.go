// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Command store measures the embedded store next to etcd and to kine on SQLite,
// in one run on one disk, through the etcd client's kubernetes.Interface, which
// an API server uses. It prints a Markdown page with tables and draws a plot.
//
//   - portico: the SQLite engine with durability full, in-process, as porticod
//     has it
//   - etcd: a server of its own, gRPC on loopback, with fsync, as a
//     kube-apiserver has it
//   - kine: a server of its own, gRPC on loopback, with SQLite set to sync each
//     commit; its default does not
//
// The sides take turns in short slices, so that any other load of the machine
// and its disk hits all of them.
//
// # Map
//
//	main.go       flags and order
//	side.go       starting and stopping the compared stores
//	measure.go    slices, clients, percentiles
//	scenarios.go  the requests
//	startup.go    start and memory with many keys
//	api.go        ConfigMaps through API servers on each store
//	report.go     tables and marks
//	plot.go       the plot
package main
