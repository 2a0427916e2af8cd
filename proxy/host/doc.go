// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package host serves the kinds whose objects are the host cluster's own: pods,
// services, persistentvolumeclaims and, if so configured, resourceclaims.
//
// A [Storage] is a storage.Interface for upstream's generic registry. A write
// to it is a write to the host, translated by package rewrite; its watch is the
// host's, translated back. Upstream's cache stands on it and a [Delegator] on
// the cache:
//
//	generic registry   validation, strategies, patches, server-side apply
//	Delegator          reads of the latest state, from the cache (D4)
//	upstream Cacher    watch multiplexer and the only copy of the objects
//	Storage            one host call per write, one host watch per kind
//	rewrite            the written and the shown objects
//
// [Streams] serves subresources that are no objects: logs, exec, attach,
// port-forward and the proxies of pods and services, byte for byte from the
// host's subresources.
//
// It is no controller: nothing here acts except in answer to a request. It
// copies nothing to the host besides the written object; the implementation of
// [Referents] brings a pod's Secrets and ConfigMaps there.
//
// # Invariants
//
//   - A host object that exists is changed by a patch with the tenant's
//     changes, conditional on the revision and the uid that were read (D5).
//     Fields that our types do not know survive.
//   - uid, resourceVersion, generation and timestamps shown are the host's.
//   - The tenant's ownerReferences and finalizers are never on the host; while
//     the latter exist, one finalizer of ours is (D6).
//   - A read of the latest state shows every write that was acknowledged before
//     it began.
//   - One host object that cannot be shown never ends a list or a watch.
//   - A state of an object, which its uid and revision name, is translated back
//     once. Both of its forms are shared then, and nothing in them changes.
//   - A host object is the virtual one that its labels and annotations say, under
//     the name of today or the former one. Any other object under these names is
//     not read, changed or deleted, and no new object can refer to it.
//   - No host name, and no error between the door and its host, is in an answer
//     to a tenant; nothing that identifies a tenant reaches the host.
//   - A tenant puts no pod on a node that is not shown, or whose taints it would
//     not have passed at the host's scheduler.
//   - The Service default/kubernetes cannot be written, and no tenant can lead
//     kube-system/kube-dns elsewhere or give its address away.
//
// # Deletion
//
// The registry marks an object as being deleted in an update and removes it
// with Delete. A host takes neither as a patch. A change of deletionTimestamp
// from unset to set, or of the grace period to a shorter one, becomes a host
// DELETE with that grace period; metadata that changes with it (the finalizers
// of a cascading deletion) is patched before, so that the host object is held
// when its deletion begins. Delete takes our finalizer off and deletes with a
// grace period of zero.
//
// # Map
//
//	config.go       Config and the interfaces that others implement
//	storage.go      Storage; keys; the handling of a reply
//	kind.go         the table of kinds; conversion
//	pod.go service.go volumeclaim.go resourceclaim.go   the hooks of one kind each
//	state.go        reading one object; find.go  the host object of a virtual one
//	create.go update.go delete.go   writing; dryrun.go  trying without writing
//	admission.go    refused writes
//	hooks.go        objects that hooks of the operator see, both ways
//	lost.go         fields that the host did not take
//	referents.go    objects that are brought to the host before another
//	placement.go    pods that a tenant puts on a node
//	diff.go route.go the changes, and the host calls that apply them
//	list.go watch.go the input of the cache
//	shown.go        the host objects behind the shown ones, and both forms of the latest
//	superseded.go   writes on a revision that was the newest a moment ago
//	memory.go       the storages of a cluster, for one to find another's objects; pulse.go  whether the host answers
//	revision.go     how far a cache must have come; health.go  whether it can
//	delegator.go    reads of the latest state
//	call.go         the verbs of the host's API for one kind
//	caller.go         names the tenant's user to the host
//	trace.go        the spans of translations
//	errors.go warnings.go metrics.go   answers of the host, for tenants and operators
//	stream.go stream_log.go stream_proxy.go stream_transport.go   Streams
package host
