// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package servers starts real database servers for tests: one process per
// server, data in a directory of the test, loopback addresses and ports that
// were free. It is for tests only.
//
// etcd is built from the Go module that test/lab/mod/etcd pins, into the user's
// cache directory. PostgreSQL and MariaDB are Debian's, installed by
// test/servers/install; where tests run as root they get an account of their
// own, because databases refuse root.
//
// # Invariants
//
//   - A server ends with its test, and with the test binary however that ends.
//   - Only processes that were started here are ended.
//   - A database that is not installed fails the test if the environment variable
//     CI is set. Otherwise the test is skipped, and make test says so at its end.
//
// # Map
//
//	server.go  Server: starting, stopping, starting again
//	etcd.go    etcd
//	sql.go     PostgreSQL and MariaDB
//	tls.go     certificates for servers and their clients
package servers
