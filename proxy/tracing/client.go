// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"net/http"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/client-go/transport"
	"k8s.io/component-base/tracing"
)

// Client returns a wrapper for a client of the host's API. It makes a span of
// each request that is part of one which has a span, and passes it on to the
// host.
func (p *Provider) Client() transport.WrapperFunc {
	traced := tracing.WrapperFor(p.TracerProvider)
	return func(plain http.RoundTripper) http.RoundTripper { return &client{plain: plain, traced: traced(plain)} }
}

type client struct{ plain, traced http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (c *client) RoundTrip(r *http.Request) (*http.Response, error) {
	if !trace.SpanContextFromContext(r.Context()).IsValid() {
		return c.plain.RoundTrip(r)
	}
	return c.traced.RoundTrip(r.WithContext(baggage.ContextWithoutBaggage(r.Context())))
}

// WrappedRoundTripper lets client-go find the transport under this one.
func (c *client) WrappedRoundTripper() http.RoundTripper { return c.plain }
