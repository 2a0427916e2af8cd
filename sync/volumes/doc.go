// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package volumes shows the PersistentVolumes that bound claims of the virtual
// cluster name: a claim lives on the host, which binds it to a volume of the
// host.
//
// A volume is shown as it is on the host, except for parts that only the host's
// storage drivers need. Without the right to get persistentvolumes there, none
// is shown: the claim knows its capacity, access modes and class, but not the
// reclaim policy, by which people decide on the fate of their data.
//
// It is not a binder or provisioner, and no way to the host's volumes. The host
// decides about a volume whose claim goes; no controller of the virtual cluster
// looks at volumes.
//
// # Invariants
//
//   - A volume is shown exactly as long as a bound claim names it, and only if
//     the host's volume names that claim.
//   - Nothing of a shown volume is made up.
//   - Only volumes with the annotation portico.dev/host-volume are ours to
//     change or remove. A volume that the tenant made under the same name is
//     left alone.
//   - No reference to a Secret of the host is shown, and no host name.
//
// # Map
//
//	volumes.go  Controller: when a volume is shown, changed and removed
//	view.go     a host volume as tenants see it
//	judge.go    writes of tenants that would have no effect
package volumes
