// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Command bench measures Portico next to the host's API, in one run on one
// machine, and writes a table, JSON and a plot.
//
// A ratio is between two sides that take turns in rounds of some requests each,
// so that any other load of the machine hits both. It is the median of the
// rounds' ratios, and a comparison goes on until the interval of this median is
// tight or its time is over; the table says which. Absolute times are printed
// too, and mean little on another machine. Porticod's processor time and its
// requests to the host are counted next to each comparison: a busy machine
// changes these least.
//
// Without kubeconfigs it starts an embedded host cluster with simulated nodes
// and a virtual cluster in it, as porticod demo does, and can then also measure
// the start, the memory and the processor time of the virtual cluster. With
// --host-kubeconfig, --virtual-kubeconfig and --host-namespace it measures
// clusters that run already. Own kinds are measured beside an API server on
// etcd, the lab's (make lab-up) or that of --etcd-kubeconfig; it must be on the
// same disk for the ratio to say anything.
//
// Answers are read and not decoded: both sides share the processor with this
// process.
//
// # Map
//
//	main.go     flags, sections, and which clusters to measure
//	compare.go  two sides in turn, percentiles, and the interval of a median
//	report.go   the table, JSON and the lines for benchstat; plot.go  the plot; marks.go  the goals
//	process.go  memory, processor time and host requests of porticod; cost.go  those of a comparison
//	profile.go  CPU and heap profiles of each scenario
//	setup.go    the namespaces and objects that the scenarios work on; kinds.go  the objects
//	requests.go   every verb of every kind
//	events.go     watches: from a write on the host to its event at the tenant
//	deployment.go a Deployment until its pods are ready
//	scale.go      memory of many objects
//	restart.go    the outage of a restart of a cluster with many kinds and objects
//	start.go idle.go   the start and stop of a virtual cluster, and one at rest
package main
