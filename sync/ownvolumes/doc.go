// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package ownvolumes lets the tenant's claims have PersistentVolumes that the
// tenant made. It binds claims and volumes inside, as upstream's controller does in
// a whole cluster, and gives the host a copy of each bound volume.
//
// It is not a provisioner, and has nothing to do with volumes that the host makes
// for claims: package volumes shows those. A claim whose class has a provisioner is
// the host's to serve, unless it names a volume.
//
// # Invariants
//
//   - The host has a copy of a volume only for a claim of this cluster, which it is
//     bound to from the start. So no other claim of the host gets a tenant's volume,
//     and no tenant gets what another has released.
//   - A copy is retained. The host is told to delete what a volume has only when
//     the claim is gone and the volume says Delete, both asked of the API at that
//     moment. A policy that the tenant changed before the end of the claim counts.
//   - A volume with a source or an option that the operator has not offered has no
//     copy.
//   - Only host volumes with the cluster's labels, and a name that leads back to
//     the virtual one, are changed or removed. Removing a copy removes no data.
//
// # Map
//
//	ownvolumes.go  Controller: the states of a volume
//	bind.go        which claim gets a volume, and how both learn of it
//	copy.go        the copy on the host, and its end
//	judge.go       writes of tenants that are refused, or without effect
package ownvolumes
