// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package events shows a tenant the host's Events about its objects: pulled
// images, failed mounts, unschedulable pods.
//
// A host Event about a translated object becomes a virtual Event about the
// virtual object, with virtual names in its text, and follows its count. An
// Event without a host Event, such as one that the tenant wrote, is never
// touched.
//
// It is not a sync of Event objects. Labels and annotations of host Events stay
// there, and an Event that goes on the host (they live for an hour) does not
// take the virtual one with it, which has a life of its own.
//
// # Invariants
//
//   - A host Event is shown only if its involved object has the host name of a
//     virtual object of this cluster and, when the Event gives a uid, that very
//     uid. So Events about other objects of the host namespace, of other
//     clusters in it, or about an earlier object of the same name never get in.
//   - An Event that says only that something composed for a pod is not there
//     yet is not shown, until the kubelet has been saying so for ten seconds;
//     then it is, in words of an ordinary cluster (rewrite, ComposedToVirtual).
//   - The complaint that the host has no ResourceClaimTemplates is not shown:
//     none is meant to be there.
//   - The name of the virtual Event is computed from the uid of the host Event:
//     one for each, even after a restart. A virtual Event that has the name by
//     accident and is about something else is left alone.
//
// # Map
//
//	events.go     Controller: which host Events are looked at, and when
//	target.go     from the involved object to the virtual object
//	translate.go  the virtual Event
//	write.go      create, or update an Event that was created before
package events
