// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package door keeps the objects in the host namespace by which the host finds
// a virtual cluster: the anchor that owns them, the cluster's own Service, the
// addresses behind it, the Service of its DNS, the ServiceAccount of its pods,
// the keys that its replicas share, and the administrator's kubeconfig.
//
// It does not serve anything and does not know the virtual API. A gateway or a
// command line tool can use it without an API server.
//
// # Invariants
//
//   - An object that exists under a name of ours and lacks the cluster's label
//     is never changed: [ErrNotOurs] is returned.
//   - The anchor, a ConfigMap, owns every object of the cluster. Nothing else
//     does, so only its deletion takes the cluster's pods and claims along.
//   - Services select pods by [LabelDoor] only, a key that no tenant can put on
//     a pod.
//   - The address of the DNS stays the same for the life of the cluster, unless
//     the host has given it to another Service.
//   - Credentials on the host never go back to those of before a rotation while a
//     porticod runs.
//   - No door is closed while all of them are silent: then this process, and not
//     the doors, is cut off.
//
// # Map
//
//	service.go       Options, Door; the cluster's own Service and ServiceAccount
//	anchor.go        the owner of everything
//	keeper.go        puts back objects that were deleted on the host, moves owners
//	remove.go        takes a cluster off its host for good
//	etcd.go          the Secret with the authority of a cluster's own etcd
//	doors.go         the addresses behind it: announced, withdrawn
//	checker.go       the leader opens and closes the doors of other replicas
//	dns.go           the Service of the cluster's DNS and its addresses
//	roots.go         the Secret with the keys that replicas share and that never change
//	credentials.go   the Secret with those that rotate
//	access.go        Keys: replicas follow that Secret; the Secret with the kubeconfig
//	metricstoken.go  the Secret with the token of the measurements
//	servicerange.go  the range from which the host allocates ClusterIPs
package door
