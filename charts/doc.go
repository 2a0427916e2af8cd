// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package charts carries the Helm chart of a virtual cluster, so that a command
// line tool installs the chart of its own version without a network.
//
// It renders nothing: that is Helm's. The tests are in test/charts.
//
// # Invariants
//
//   - The name of a release is the name of the virtual cluster.
//   - The rendering depends on the values alone: nothing is looked up and nothing
//     is random, so that two renderings are the same to tools that compare them.
//   - Objects of the chart select by portico.dev/ keys only, which no tenant can
//     put on a pod.
//   - The rights of porticod are those that package rights names for the same
//     configuration, no fewer and no more.
//
// # Map
//
//	embed.go          Portico
//	load.go           Load, Read: the chart as Helm takes it
//	portico/          the chart
//	portico-gateway/  that of the gateway, which is installed from its directory
package charts
