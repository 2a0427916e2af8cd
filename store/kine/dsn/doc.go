// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package dsn reads the endpoints of databases and turns them into connection
// strings.
//
// It opens no connection and links no server: configuration and the command line
// tool check an endpoint with it.
//
// # Invariants
//
//   - TLS is either verified or off.
//   - A parameter that could change security is refused.
//   - An error never repeats an endpoint, which may hold a password by mistake.
//
// # Map
//
//	dsn.go   Endpoint and its connection strings
package dsn
