// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package podsecret keeps one host Secret per pod of a virtual cluster, for
// content that the kubelet would compose from its own cluster: tokens and
// certificates. The pod's projected volumes read it.
//
// It is not for Secrets of the tenant; those are pushed. It does not decide on
// the content of a Secret, or when that is due.
//
// # Invariants
//
//   - A Secret belongs to one pod instance, by an ownerReference with its uid. The
//     host's garbage collector removes it with the pod; a Secret of an earlier pod
//     of the same name is replaced, not filled.
//   - A pod that mounts its Secret by a former name has it there, and no other pod
//     has one there.
//   - A host Secret under our name that is not marked as ours is never touched.
//   - The content is in no annotation, error, log line or cache.
//
// # Map
//
//	podsecret.go  Writer
//	pod.go        Finished
package podsecret
