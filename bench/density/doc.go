// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Command density measures many virtual clusters on one embedded host, of which most
// sleep: memory, processor time and requests to the host of those that are awake,
// and how long a client waits for one that is not. With -soak, it has clusters
// sleep and wake every minute instead, kills their porticods and the gateway in
// the middle, and looks for anything that is lost.
//
// It plays the host's kubelet for the workloads of control planes: a porticod is
// a process of this machine, started and ended by the number of replicas. Pods of
// tenants are simulated, so that their own cost is not in the figures.
//
// # Map
//
//	main.go     options, the order of things
//	fleet.go    fleet: the host, the clusters, and the kubelet
//	cluster.go  cluster: its porticod, its client through the gateway
//	measure.go  memory, processor time, requests to the host, wakes
//	soak.go     sleep and wake every minute, kills
package main
