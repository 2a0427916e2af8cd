// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package nap ends the control plane of a virtual cluster that nobody uses: it
// scales the workload that it runs in to 0. The cluster's pods go on running,
// because they are the host's, or leave it first, if an operator wants that.
//
// It wakes no cluster. The gateway does, and people do; the annotations on the
// workload say when there is work (marks.Rest).
//
// # Invariants
//
//   - The marks and the number of replicas are one write, which fails if anybody
//     has changed the workload since it was read: a pause of the same moment
//     stays a pause.
//   - A cluster does not go to sleep with work that is due soon, and says when
//     there will be some: tokens and certificates of pods, and CronJobs. It never
//     sleeps for longer than its own certificates allow.
//   - Only a leader does it, and it hears of the users of all replicas.
//   - Pods leave the host when the control plane has ended, and are back before it
//     starts. A kill at any point is followed by the rest at the next start.
//   - A host that does not answer keeps a cluster awake.
//
// # Map
//
//	sleeper.go   Sleeper: looks at the clock, the workload and the users
//	decide.go    whether and for how long, without any I/O
//	work.go      Jobs that have not ended, CronJobs that are due
//	away.go      Away: a sleep in which the pods leave the host, too
//	workload.go  the StatefulSet or Deployment of the control plane
package nap
