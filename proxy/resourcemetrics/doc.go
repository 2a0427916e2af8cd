// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package resourcemetrics serves the API group metrics.k8s.io of a virtual
// cluster from the host's, for kubectl top and the HorizontalPodAutoscaler.
//
// It is not a metrics server: it measures nothing, keeps nothing, and asks the
// host for each request.
//
// # Invariants
//
//   - The tenant's own objects decide the answer. Metrics of the host are looked
//     up under the host names of virtual pods, and of host nodes that the virtual
//     cluster shows; the rest of the host's answer is dropped. So no other
//     tenant's metrics are shown, even if the host ignores selectors.
//   - Names, namespaces and labels are the virtual objects'. Selectors are
//     matched against them, here.
//   - Trouble between the door and its host is reported as 503, without host
//     names.
//
// # Map
//
//	resourcemetrics.go  Config, and the group as the API server installs it
//	pods.go nodes.go    the two resources
//	table.go            the columns of kubectl get
package resourcemetrics
