// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package pause takes a virtual cluster off its host, so that it costs nothing
// but storage, and brings it back.
//
// It works on the host alone: while a cluster is paused, no part of it runs
// that could be asked. It does not decide when a cluster is paused, and it
// keeps no data: Services with their addresses, claims, Secrets, ConfigMaps and
// the store stay where they are.
//
// # Invariants
//
//   - The control plane has ended before the first pod is removed, and every
//     pod is back before it starts. So no controller of the cluster ever sees a
//     pod fail or vanish: Jobs, and other counters of failures, note none.
//   - A pod that nothing would make again is written down before it is removed,
//     and forgotten only when it is there again, under the same name.
//   - A pod that has ended stays. It uses nothing, and its logs are worth
//     something.
//   - Each function can be ended at any point and called again.
//
// # Map
//
//	pause.go     Cluster: Pause, Resume
//	workload.go  the control plane as the host runs it: scaled, waited for
//	pods.go      the pods: removed, made again
//	sleep.go     Sleep, Wake: of the control plane alone
//	record.go    a pod as it is written down
package pause
