// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package simulate gives an embedded host cluster nodes that need no machine.
//
// It creates Node objects and runs kwok (sigs.k8s.io/kwok) as a library
// against them: pods bound to such a node become Running at once, pods of Jobs
// succeed, deleted pods go away, leases and heartbeats keep the nodes Ready.
// Nothing is executed: there is no container, no log and no exec.
//
// It is for the demo, the integration tests and the benchmarks. It is not a
// kubelet, and nothing that depends on a real container may be tested on it;
// test/lab is there for that.
//
// # Invariants
//
//   - Only nodes that carry kwok's annotation are touched, so simulated and
//     real nodes can stand side by side.
//   - The behaviour of nodes and pods is written in Stage objects: kwok's own
//     defaults, plus the ones in stages/, each with its reason.
//
// # Map
//
//	simulate.go  Run, WaitReady and the options
//	node.go      the simulated Node
//	stages.go    the stages that are played
//	log.go       kwok's log lines in our log
//	delete.go  pods that were asked to end
package simulate
