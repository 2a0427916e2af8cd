// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package servers starts real database servers for tests: one process per
// server, data in a directory of the test, loopback addresses and ports that
// were free. It is for tests only.
//
// etcd is built from the Go module that test/lab/mod/etcd pins, into the user's
// cache directory.
//
// # Invariants
//
//   - A server ends with its test, and with the test binary however that ends.
//   - Only processes that were started here are ended.
//
// # Files
//
//	server.go  Server: starting, stopping, starting again
//	etcd.go    etcd
//	tls.go     certificates for servers and their clients
package servers
