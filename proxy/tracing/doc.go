// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package tracing makes the spans of requests, and sends them to a collector
// with OTLP. A trace leads from the door through the translation to the host,
// whose own API server may continue it.
//
// It makes no spans of background work: a span begins with a request of a
// client, and everything else is a part of that.
//
// # Invariants
//
//   - A client decides on its own whether a request is sampled only if it is
//     trusted. The context that any other client sends becomes a link, on which
//     no sampler looks.
//   - No span is longer than a request that ends by itself: watches and streams
//     have none.
//   - No exported span has the name or the content of a Secret.
//   - A collector that is away or slow delays no request. Spans are dropped.
//   - Baggage of a client does not go to the host.
//
// # Map
//
//	provider.go  New: the provider, its exporter and its sampler
//	door.go      Door: which requests have a span, and whose context is its parent
//	client.go    Client: the span of a request to the host
//	secrets.go   removes the names and contents of Secrets from spans
package tracing
