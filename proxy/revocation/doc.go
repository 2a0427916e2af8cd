// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package revocation ends a client's open requests when its certificate is no
// longer valid: watches, logs, exec sessions and port forwards.
//
// It decides on no new request. Upstream verifies the certificate of each with
// the authorities of that moment, also on connections that were made before.
//
// # Invariants
//
//   - A request is known here before its certificate is verified upstream, so none
//     falls between the two.
//   - A request without a client certificate costs nothing.
//
// # Map
//
//	guard.go   Guard: open requests and their certificates
//	hijack.go  connections that a request took over
package revocation
