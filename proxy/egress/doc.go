// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package egress dials the servers that a tenant names: those of aggregated
// APIs, admission webhooks and conversion webhooks. It is the only way out of
// the API server for an address or a name in a tenant's object.
//
// It is not a firewall: the host's network policy decides which addresses pods
// can reach.
//
// # Invariants
//
//   - An address is judged after its name was resolved, and the judged address
//     is the one that is dialled. No second lookup can lead elsewhere.
//   - A ClusterIP is never dialled. The packets would go where kube-proxy says,
//     which for a Service without selector is an address that the tenant wrote.
//     An endpoint is chosen here instead, as kube-apiserver does with
//     --enable-aggregator-routing, and judged like any other address.
//   - An address that no rule permits is refused. An object that is not known
//     yet permits nothing.
//   - No credential leaves: a webhook gets none, and the client certificate of
//     the front proxy goes over connections of this package only.
//   - A tenant reads no name and no address in an error that they did not
//     write, and no difference between a name that does not exist and one that
//     leads to a refused address.
//
// # Map
//
//	policy/      which addresses may be dialled; pure
//	view.go      View: which addresses are the cluster's own
//	dialer.go    Dialer: names to addresses to connections
//	resolver.go  Resolver: the endpoint of a Service
//	webhook.go   clients of webhooks, and the answers that they accept
//	errors.go    the errors that a tenant reads
package egress
