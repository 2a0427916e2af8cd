// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package storetest holds suites that every store.Backend must pass. It is for
// tests only.
//
// [RunStorage] runs upstream's own storage suites
// (k8s.io/apiserver/pkg/storage/testing) over upstream's etcd3 storage on a
// Backend: everything that the API server relies on. [RunModel] plays
// random operations against a Backend and against a trivial model of it.
// [RunLimit] fills a Backend up to a limit that is put before it.
//
// # Map
//
//	setup.go    upstream's etcd3 storage on a Backend
//	storage.go  RunStorage: reads and writes
//	watch.go    RunStorage: watches
//	corrupt.go  RunStorage: objects that cannot be read
//	model.go    the model
//	random.go   RunModel
//	limit.go    RunLimit
package storetest
