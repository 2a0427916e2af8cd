// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package classes shows the host's PriorityClasses, RuntimeClasses, DeviceClasses,
// StorageClasses and IngressClasses inside, under their own names, and says which of them pods
// and claims may take to the host. It also keeps copies of the tenant's own
// PriorityClasses and StorageClasses on the host.
//
// It is not a way for a tenant's RuntimeClasses and DeviceClasses to the host.
// The host decides how a node runs a container, and which devices there are for
// whom.
//
// # Invariants
//
//   - Only the host's own list says which classes are the host's. A virtual
//     class proves nothing: a tenant can make one under any name, with any
//     annotation.
//   - The priority classes that Kubernetes keeps for itself ("system-...") are
//     never shown, and never passed on; nor are runtime classes of such names.
//   - Only classes with the annotation portico.dev/host-class are ours to
//     change or remove. A class that the tenant made under the same name is
//     left alone, and pods that name it have no class on the host but a copy of
//     it.
//   - A copy is never above the operator's limit and never the default. A storage
//     class has a copy only if its provisioner and each of its parameters is one
//     that the operator allows; a claim of any other is refused. Only an
//     object with the cluster's labels, and a name that its annotation leads
//     back to, is changed or removed; and no cluster is shown another's copy.
//   - A shown class is as the host has it: a tenant's change is put back. The
//     mark as default is left out for pods: a pod without a class gets the host's
//     default on the host. So are the parameters of storage and ingress classes.
//   - The storage class of a claim is a name that the host looks up. Where the
//     operator offers some classes, a claim of any other class of the host is
//     refused, with any class of the tenant's inside.
//   - A class is not lost because a list is behind: a class that the lists do
//     not have is asked for. A pod whose class has gone, or cannot be looked
//     up, is refused. A claim of a device class that has gone, or is yet to
//     come, waits as it does in any cluster.
//   - When a kind is no longer shown, its classes go at the next start.
//
// # Map
//
//	classes.go       Mirror: which classes are shown, and which are the host's
//	kind.go          how the classes of one kind are shown
//	judge.go         writes of tenants that would have no effect
//	push.go          how the copies of the tenant's classes of one kind are kept
//	pushpriority.go  Pusher: copies of PriorityClasses
//	pushstorage.go   StoragePusher: copies of StorageClasses
package classes
