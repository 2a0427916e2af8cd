// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package gateway leads clients from one address to all virtual clusters of a
// host. A client names a cluster as NAME.NAMESPACE.SUFFIX, either in the TLS
// handshake (SNI), whose bytes are passed on to the cluster's door, or in a
// CONNECT request, for which they need a token.
//
// It is not a party to the conversation: TLS ends at the door, where users are
// known by certificates and tokens. It has no key of any cluster, reads no
// request and changes no byte.
//
// # Invariants
//
//   - Only a door is dialled: the ClusterIP and port 443 of a host Service that
//     is labelled and named as porticod makes it. No address and no port comes
//     from a client. A user who makes such a Service by hand names a cluster of
//     their own namespace, and none of another.
//   - Without a rule that permits it, a connection is refused. A request other
//     than CONNECT is never forwarded, and the environment names no proxy.
//   - A CONNECT request is authenticated before its target is looked up, and a
//     token leads to one cluster only.
//   - A refusal says nothing about the host: not whether a name exists, no
//     address, no error of the network.
//   - Every connection counts, from its first to its last byte, against the
//     limits of its client, of its cluster and of the process. Silence, and a
//     reader who does not read, end it.
//   - A cluster that sleeps is woken once for all who wait for it, never one that a
//     person has paused, and never for a token that does not wake. A name that no
//     cluster has costs the host nothing.
//   - Bytes of one client never reach a connection of another: nothing is
//     pooled, and a connection to a door lives as long as that of its client.
//
// # Map
//
//	gateway.go      Gateway: accepts, distinguishes TLS and HTTP, drains
//	hello.go        reads a ClientHello and keeps its bytes
//	passthrough.go  the way by SNI
//	connect.go      the way by CONNECT, on goproxy
//	names.go        names of clusters as clients write them
//	directory.go    Directory: the doors of a host
//	workloads.go    Workloads: which clusters sleep, and how they are woken
//	tokens.go       Tokens: whose a token is, by the host's word
//	proxyprotocol.go  who a client is, by the word of a load balancer
//	conn.go         connections that end by silence
//	limits.go       how many there may be
//	metrics.go      counts
package gateway
