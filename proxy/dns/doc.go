// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package dns is the DNS of a virtual cluster: CoreDNS as a library, fed by the
// informers of the API server in the same process.
//
// The meaning of a name is upstream's own code, CoreDNS' kubernetes plugin at
// the version that Kubernetes ships (Kubernetes DNS specification 1.1.0), with
// kubeadm's settings: pods insecure, TTL 30. In place of the plugin's own
// informers it reads from the API server's, so that no object is held twice and
// an answer is as new as the API. Other names go through CoreDNS' cache and
// forward plugins to the host's resolver.
//
//	Server      sockets, and the clients' rights and shares
//	 any        ANY is answered with one HINFO record (RFC 8482)
//	 kubernetes the cluster's names, and the reverse names of its addresses
//	 outside    names that may leave: not those of the cluster, nor reverse names
//	            of private addresses (RFC 6303)
//	 cache      answers of the host's resolver, for 30 seconds at most
//	 forward    the host's resolver
//
// It is a resolver for the cluster's own pods, their nodes and Config.Clients;
// all others are refused. It transfers no zones, takes no updates, and has no
// configuration of its own besides Config: no Corefile, no reload. Nothing here
// writes to the API; the kube-dns Service is made by proxy/host and kept by
// sync/kubedns.
//
// # Invariants
//
//   - The cluster's names are answered from the cluster alone. A name that does
//     not exist in it is NXDOMAIN, never a question to the host.
//   - Names of the cluster are never cached: they are in memory already.
//   - Before the informers have synced nothing is answered. Questions wait in
//     the sockets, which are open from the start.
//   - No answer has the name of a Service of the host or of another cluster for
//     an address, in any spelling of the address.
//   - No client takes rate or connections from another, and the memory of
//     clients is bounded.
//   - A question is answered or refused within a few seconds, also when the
//     host's resolver is slow, and the number of questions that wait for it at
//     a time is bounded.
//
// # Map
//
//	server.go    Config, Server: the sockets and the way of a question
//	clients.go   the addresses that may ask
//	limits.go    how much one address may ask
//	chain.go     the plugins, put together
//	records.go   the data of the kubernetes plugin
//	reverse.go   which reverse names may leave
//	outside.go   names that are not the cluster's
//	sockets.go   one port for UDP and TCP; resolv.conf
package dns
