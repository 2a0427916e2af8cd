// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package resourcemetrics serves the API group metrics.k8s.io of a virtual cluster from the host's: what kubectl top and
// the HorizontalPodAutoscaler ask.
//
// It is not a metrics server: it measures nothing, keeps nothing, and asks the host for each request.
//
// Invariants:
//
//   - The tenant's own objects decide what is answered. Metrics of the host are looked up under the host names of virtual
//     pods, and of host nodes that the virtual cluster shows; whatever else the host answers is dropped. So no metrics of
//     anybody else are shown, even if the host ignores selectors.
//   - Names, namespaces and labels are the virtual objects'. Selectors are matched against them, here.
//   - What is between the door and its host is told as 503, without host names.
//
// Files:
//
//	resourcemetrics.go   Config, and the group as the API server installs it
//	pods.go, nodes.go    the two resources
//	table.go             what kubectl get prints
package resourcemetrics
