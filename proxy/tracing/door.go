// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"context"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// Door returns p for the handlers of an API server, which begin a trace where
// upstream's do: behind the authentication. Users who are trusted, by their name
// or a group, may have a trace of their own continued, and so decide that it is
// sampled.
//
// Upstream trusts system:masters, which the administrator of a virtual cluster
// is in.
func (p *Provider) Door(trusted []string) *Door {
	return &Door{Provider: p, trusted: append([]string{user.APIServerUser}, trusted...)}
}

// Door is the provider of an API server's handlers.
type Door struct {
	*Provider
	trusted []string
}

// Tracer implements trace.TracerProvider.
func (d *Door) Tracer(name string, o ...trace.TracerOption) trace.Tracer {
	return doorTracer{Tracer: d.Provider.Tracer(name, o...), door: d}
}

type doorTracer struct {
	trace.Tracer
	door *Door
}

// Start implements trace.Tracer. A span that is a request's first has the
// context that the client sent, if there is one, as its parent or its link,
// even where upstream's handler asks for another.
func (t doorTracer) Start(ctx context.Context, name string, o ...trace.SpanStartOption) (context.Context, trace.Span) {
	sent := trace.SpanContextFromContext(ctx)
	if sent.IsValid() && !sent.IsRemote() {
		return t.Tracer.Start(ctx, name, o...)
	}
	who, known := request.UserFrom(ctx)
	if !known || !ends(ctx) {
		none := trace.Span(noop.Span{})
		return trace.ContextWithSpan(ctx, none), none
	}
	asked := trace.NewSpanStartConfig(o...)
	o = []trace.SpanStartOption{trace.WithTimestamp(asked.Timestamp()), trace.WithAttributes(asked.Attributes()...), trace.WithSpanKind(asked.SpanKind())}
	if !t.door.trusts(who) {
		o = append(o, trace.WithNewRoot())
		if sent.IsValid() {
			o = append(o, trace.WithLinks(trace.Link{SpanContext: sent}))
		}
	}
	return t.Tracer.Start(ctx, name, o...)
}

func (d *Door) trusts(who user.Info) bool {
	return slices.ContainsFunc(d.trusted, func(t string) bool { return t == who.GetName() || slices.Contains(who.GetGroups(), t) })
}

// endless are subresources whose requests last as long as the client likes.
var endless = []string{"attach", "exec", "log", "portforward", "proxy"}

// ends says whether a request is worth a span: it ends by itself, and it is not
// one of the questions that supervisors ask all the time.
func ends(ctx context.Context) bool {
	info, known := request.RequestInfoFrom(ctx)
	switch {
	case !known:
		return false
	case !info.IsResourceRequest:
		return !strings.HasPrefix(info.Path, "/healthz") && !strings.HasPrefix(info.Path, "/livez") && !strings.HasPrefix(info.Path, "/readyz")
	}
	return info.Verb != "watch" && info.Verb != "proxy" && !slices.Contains(endless, info.Subresource)
}
