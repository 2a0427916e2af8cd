// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package cluster finds virtual clusters on a host and says how they are.
//
// A virtual cluster is known by its workload, the StatefulSet or Deployment of
// porticod, made by Helm, this tool, or kubectl apply. While a creation was
// interrupted before there is a workload, it is known by the record that Helm
// keeps of the release.
//
// # Invariants
//
//   - Pods of porticod are found by the label that no tenant can put on a pod
//     (door.LabelDoor), never by a name.
//   - A cluster is taken off its host, and brought back, by package sync/pause and
//     nothing here.
//
// # Map
//
//	cluster.go    Cluster and its State
//	find.go       List and Find
//	names.go      names, namespaces, annotations
//	namespace.go  the namespace: made, kept, deleted
//	pause.go      Pause and Resume, Sleep and Wake
//	restore.go    the data replaced: before and after, and the pod that does it
//	data.go       the claims that hold a cluster's data
//	tenants.go    the tenant's objects on the host
package cluster
