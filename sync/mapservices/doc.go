// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package mapservices makes single Services of one side known on the other, as
// the operator has configured: a host Service of any host namespace appears
// under a name inside, and a virtual Service appears under a name in the
// cluster's host namespace. Pods of the other side reach it by that name.
//
// It forwards no traffic. kube-proxy on the host's nodes does, because each
// mapped Service is an ordinary Service of the host in the end:
//
//	from the host  the virtual Service has no selector, and virtual EndpointSlices
//	               with the addresses of the host's; sync/endpoints brings these to
//	               the host, as with any Service without a selector
//	from inside    the host Service selects the pods that the translated Service
//	               selects, and the host computes where it leads
//
// It asks for no rights: package rights has the Role for each host namespace.
//
// # Invariants
//
//   - Nothing but the configuration says which Services are mapped. No object of
//     a tenant widens a mapping, and none is read to find a host Service.
//   - A mapped Service is there exactly while the other one is and can be
//     mapped. A host that does not answer, or refuses, changes nothing.
//   - A Service under the wanted name that is not ours is never changed.
//   - A host Service leads to pods of this cluster that the host itself has
//     found, and to no address and no name that a tenant wrote.
//   - One mapping that does not work, such as one without rights, holds up no
//     other.
//   - A virtual object has no name of the host's in it: no node, no pod, no
//     Service.
//
// # Map
//
//	mapservices.go  Config, Controller
//	fromhost.go     one host Service, shown inside
//	show.go         how it looks there
//	fromvirtual.go  virtual Services, offered on the host
//	offer.go        how they look there
//	leftovers.go    Services of mappings that are no more
//	report.go       a mapping that does not work, in Events and in the log
package mapservices
