// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Command bench measures Portico next to the host's API, in one run on one
// machine, and prints ratios as a Markdown table.
//
// A ratio is between two sides whose requests alternate, so that any other load
// of the machine hits both. Absolute times are printed too, and mean little on
// another machine.
//
// Without kubeconfigs it starts an embedded host cluster with simulated nodes
// and a virtual cluster in it, as porticod demo does, and can then also measure
// the start time and the memory of the virtual cluster. With --host-kubeconfig
// and --virtual-kubeconfig it measures clusters that run already. Writes of own
// kinds are measured against an API server on etcd, the lab's (make lab-up) or
// that of --etcd-kubeconfig; it must be on the same disk for the ratio to say
// anything.
//
// # Map
//
//	main.go     flags, and which clusters to measure
//	setup.go    the namespaces and pods that the scenarios work on
//	compare.go  two sides in turn, and their percentiles
//	report.go   the table
//	create_pod.go create_configmap.go get_pod.go list_pods.go   requests that are compared
//	start.go idle_memory.go   the start of a virtual cluster, and its memory at rest
//	restart.go  the outage of a restart, in a cluster with many kinds and objects
package main
