// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package access finds out how a virtual cluster is reached: its address, the
// administrator's credentials, and tokens of its own service accounts.
//
// # Invariants
//
//   - Credentials are read from the Secret that porticod keeps, and never made
//     here: a rotation there is a rotation everywhere.
//   - The server's certificate is verified, also through a forwarded port.
//
// # Map
//
//	credentials.go  Credentials: the administrator's, from the host
//	gateway.go      ThroughProxy: the way by CONNECT, with a token
//	address.go      Find: which address a person can use, of the cluster or of the gateway
//	token.go        Token: of a service account in the virtual cluster
//	ready.go        Ready: whether the API answers
package access
