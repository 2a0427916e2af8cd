// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package push keeps host copies of the Secrets and ConfigMaps that pods name, and
// of the Secrets that Ingresses on the host do.
//
// The objects themselves are the virtual cluster's own. A copy is on the host for
// the kubelet, which mounts it or turns it into environment variables: Ensure
// writes it before the pod's own host POST, informers keep it in step from then
// on, and it goes some time after the last pod that names it.
//
// It is not a way for anything to come back. A copy that was changed on the host
// is corrected.
//
// # Invariants
//
//   - Only objects that a pod, or an Ingress on the host, of the same virtual
//     namespace names are on the host.
//   - A host object under the name of a copy that is not marked as ours is never
//     read, changed or deleted; the pod that needs the name gets an error, also
//     when the virtual object does not exist.
//   - A copy that an earlier version made under another name is kept there as long
//     as a pod names it, and never made.
//   - A reference to an object that does not exist is no error: the pod waits for
//     it as on any cluster, and the copy is made when the object is.
//   - A copy that was removed is not believed to be there because the view is
//     behind: a pod whose Secret is optional would start without it.
//   - The content of a Secret is neither logged nor kept in memory for longer than
//     a call takes.
//
// Ensure runs in every replica, Run in the one that leads. A copy that two of them
// write at the same time is created by one and found by the other, or patched with
// the resourceVersion it was read at.
//
// A pod that is on its way is not in any informer yet. Ensure therefore pins
// its copies until the host has answered, and for PinTime if the host takes the
// pod; removal and Ensure of one object exclude each other. A copy that was
// made for pods that the host refused goes with the last refusal. Several
// replicas do not see each other's pins; there, Linger keeps a copy until the
// pod is seen, and a copy that went with the refusal of one replica's pod while
// another replica's was on its way is made again when the leader sees that pod.
//
// # Map
//
//	push.go    Controller, Ensure
//	events.go  which events concern which object
//	pins.go    copies for pods on their way, which go if these are refused
//	copy.go    the copies of one kind, which is a row of package kinds
//	former.go  copies that have a former name; names that are taken
//	locks.go   one lock per object
package push
