// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package endpoints brings the EndpointSlices of virtual Services without a
// selector to the host, so that something answers at the ClusterIP that the host
// has given them. Endpoints of the old kind reach the host too: the virtual
// cluster's mirroring controller makes slices of them.
//
// It is not for Services with a selector. The host's own controllers compute the
// slices of those from the host's pods.
//
// # Invariants
//
//   - A host slice of ours leads to the Service of the same virtual namespace,
//     and never to the cluster's own Service.
//   - A host slice is there exactly while its virtual slice is, and its Service
//     is one that needs it.
//   - No virtual slice has two host slices. One under a former name stays there.
//   - No controller of the host manages it: its managed-by label names Portico.
//
// # Map
//
//	endpoints.go  Controller
//	former.go     slices, Services and pods that have former names
package endpoints
