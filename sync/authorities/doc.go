// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package authorities takes the authorities of revoked certificates from the
// ConfigMap by which aggregated API servers know clients
// (kube-system/extension-apiserver-authentication). Each API server adds its own
// to the list, and upstream's never remove one: a revoked administrator could go
// on to use every aggregated API, at its pod's address.
//
// It does not know which ones are revoked, and adds none.
//
// # Invariants
//
//   - An authority of somebody else stays in the list.
//   - A replica that does not know of a rotation yet may add one again; it is
//     removed within a minute.
//
// # Map
//
//	authorities.go  Run
package authorities
