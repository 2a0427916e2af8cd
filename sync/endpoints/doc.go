// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package endpoints brings the EndpointSlices of virtual Services without a selector to the host, so that something answers
// at the ClusterIP that the host has given them. Endpoints of old reach the host too: the virtual cluster's mirroring
// controller makes slices of them.
//
// It is not for Services with a selector. The host's own controllers compute the slices of those from the host's pods.
//
// Invariants:
//
//   - A host slice of ours leads to the Service of the same virtual namespace, and never to the cluster's own.
//   - A host slice is there exactly while its virtual slice is, and its Service is one that needs it.
//   - Nothing on the host but us manages it: its managed-by label says so.
//
// Files:
//
//	endpoints.go   Controller
//	copy.go        one slice on the host
package endpoints
