// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package testserver stands in for k8s.io/apiserver/pkg/storage/etcd3/testserver
// when upstream's own tests are run (test/upstream): it has the names that they
// use, and hands out the SQLite engine where they expect an embedded etcd.
//
// It is not used by anything else, and does not import etcd3, whose tests import
// it.
//
// # Map
//
//	testserver.go  Server
package testserver
