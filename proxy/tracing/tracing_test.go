// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/filterlatency"
	"k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/component-base/tracing"
)

// collector takes spans in memory, as they would be exported.
func collector(sampler sdktrace.Sampler) (*Provider, *tracetest.InMemoryExporter) {
	spans := tracetest.NewInMemoryExporter()
	return &Provider{sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler), sdktrace.WithSyncer(withoutSecrets{spans}))}, spans
}

const sentParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// serve has one request go through upstream's handlers, as they stand around
// the authentication.
func serve(d *Door, who user.Info, info *request.RequestInfo, parent string, handle http.HandlerFunc) {
	authenticated := filters.WithTracing(handle, d)
	chain := filterlatency.TrackStarted(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := request.WithRequestInfo(request.WithUser(r.Context(), who), info)
		authenticated.ServeHTTP(w, r.WithContext(ctx))
	}), d, "authentication")
	r := httptest.NewRequest(http.MethodGet, "/api/v1/namespaces/a/secrets/password-of-shop?x=password-of-shop", nil)
	if parent != "" {
		r.Header.Set("Traceparent", parent)
		r.Header.Set("Baggage", "from=tenant")
	}
	chain.ServeHTTP(httptest.NewRecorder(), r)
}

func pods(verb, subresource string) *request.RequestInfo {
	return &request.RequestInfo{IsResourceRequest: true, APIPrefix: "api", APIVersion: "v1", Resource: "pods", Verb: verb, Subresource: subresource}
}

var admin = &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup, "staff"}}

func nothing(http.ResponseWriter, *http.Request) {}

// A tenant wants all of their requests to be sampled, which costs the operator,
// and one trace to look like another's. Their context is a link, for an
// administrator too.
func TestAttackClientForcesSampling(t *testing.T) {
	p, spans := collector(sdktrace.ParentBased(sdktrace.NeverSample()))
	serve(p.Door(nil), admin, pods("get", ""), sentParent, nothing)
	if got := spans.GetSpans(); len(got) != 0 {
		t.Errorf("spans of a client that asks for sampling: %v", got)
	}
	p, spans = collector(sdktrace.ParentBased(sdktrace.AlwaysSample()))
	serve(p.Door(nil), admin, pods("get", ""), sentParent, nothing)
	got := spans.GetSpans()
	if len(got) != 1 || got[0].Parent.IsValid() || strings.Contains(sentParent, got[0].SpanContext.TraceID().String()) {
		t.Fatalf("spans: %v, want one with its own trace", got)
	}
	if len(got[0].Links) != 1 || got[0].Links[0].SpanContext.TraceID().String() != "4bf92f3577b34da6a3ce929d0e0e4736" {
		t.Errorf("links: %v, want the client's context", got[0].Links)
	}
}

func TestTrustedUsersContinueTheirTrace(t *testing.T) {
	for trusted, who := range map[string]user.Info{
		"admin":            admin,
		"staff":            admin,
		"someone else":     &user.DefaultInfo{Name: user.APIServerUser},
		"another of these": &user.DefaultInfo{Name: "x", Groups: []string{"another of these"}},
	} {
		p, spans := collector(sdktrace.ParentBased(sdktrace.NeverSample()))
		serve(p.Door([]string{trusted}), who, pods("get", ""), sentParent, nothing)
		if got := spans.GetSpans(); len(got) != 1 || got[0].Parent.SpanID().String() != "00f067aa0ba902b7" {
			t.Errorf("%s trusted: spans %v, want one with the client's as its parent", trusted, got)
		}
	}
}

func TestNoSpanOfWatchesStreamsAndProbes(t *testing.T) {
	for what, info := range map[string]*request.RequestInfo{
		"watch":   pods("watch", ""),
		"exec":    pods("create", "exec"),
		"log":     pods("get", "log"),
		"proxy":   pods("proxy", ""),
		"probe":   {Verb: "get", Path: "/readyz"},
		"forward": pods("create", "portforward"),
	} {
		p, spans := collector(sdktrace.AlwaysSample())
		serve(p.Door([]string{"admin"}), admin, info, sentParent, func(_ http.ResponseWriter, r *http.Request) {
			_, span := tracing.Start(r.Context(), "inner")
			span.End(0)
			if trace.SpanContextFromContext(r.Context()).IsValid() {
				t.Errorf("%s: the host would be told of a trace", what)
			}
		})
		if got := spans.GetSpans(); len(got) != 0 {
			t.Errorf("%s: %v", what, got)
		}
	}
}

// Names of Secrets are in paths, keys, errors and attributes of upstream's spans.
func TestAttackNamesOfSecretsInSpans(t *testing.T) {
	p, spans := collector(sdktrace.AlwaysSample())
	info := &request.RequestInfo{IsResourceRequest: true, APIPrefix: "api", APIVersion: "v1", Resource: "secrets", Name: "password-of-shop", Verb: "get"}
	serve(p.Door(nil), admin, info, "", func(_ http.ResponseWriter, r *http.Request) {
		_, span := tracing.Start(r.Context(), "Get", attribute.String("resource", "secrets"), attribute.String("name", "password-of-shop"),
			attribute.String("key", "/registry/secrets/a/password-of-shop"), attribute.String("err", `secrets "password-of-shop" not found`))
		span.AddEvent("read", attribute.String("url", "https://host/api/v1/namespaces/vc/secrets/password-of-shop"))
		span.End(0)
		trace.SpanFromContext(r.Context()).SetStatus(codes.Error, `Secret "password-of-shop" is invalid`)
	})
	got := spans.GetSpans()
	if len(got) != 2 {
		t.Fatalf("spans: %v, want two", got)
	}
	for _, s := range got {
		text := s.Name + s.Status.Description
		for _, a := range s.Attributes {
			text += "\n" + string(a.Key) + "=" + a.Value.Emit()
		}
		for _, e := range s.Events {
			for _, a := range e.Attributes {
				text += "\n" + string(a.Key) + "=" + a.Value.Emit()
			}
		}
		if strings.Contains(text, "password-of-shop") {
			t.Errorf("span says %s", text)
		}
		if !strings.Contains(text, "/secrets") {
			t.Errorf("span says nothing of what it was about: %s", text)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestClientTellsTheHostOfItsSpan(t *testing.T) {
	p, spans := collector(sdktrace.AlwaysSample())
	var got http.Header
	host := p.Client()(roundTrip(func(r *http.Request) (*http.Response, error) {
		got = r.Header
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
	}))
	call := func(ctx context.Context) {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://host/api", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := host.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
	}
	call(t.Context())
	if got.Get("Traceparent") != "" || len(spans.GetSpans()) != 0 {
		t.Errorf("work of our own has a trace: %v", got)
	}
	serve(p.Door(nil), admin, pods("get", ""), sentParent, func(_ http.ResponseWriter, r *http.Request) { call(r.Context()) })
	all := spans.GetSpans()
	if len(all) != 2 || all[0].Parent.SpanID() != all[1].SpanContext.SpanID() || !strings.Contains(got.Get("Traceparent"), all[0].SpanContext.SpanID().String()) {
		t.Errorf("header %v, spans %v", got, all)
	}
	if got.Get("Baggage") != "" {
		t.Errorf("the host gets a tenant's baggage: %v", got)
	}
}

// New needs no collector to be there, and makes nothing unless asked.
func TestNew(t *testing.T) {
	none, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = none.Close()
	for name, tc := range map[string]struct {
		c    Config
		env  map[string]string
		made bool
		err  string
	}{
		"nothing asked for":         {},
		"endpoint of ours":          {c: Config{Endpoint: "http://" + none.Addr().String()}, made: true},
		"http":                      {c: Config{Endpoint: "https://" + none.Addr().String() + "/v1/traces", Protocol: HTTP}, made: true},
		"variable":                  {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + none.Addr().String()}, made: true},
		"switched off by variable":  {c: Config{Endpoint: "http://c:4317"}, env: map[string]string{"OTEL_SDK_DISABLED": "true"}},
		"switched off in other way": {c: Config{Endpoint: "http://c:4317"}, env: map[string]string{"OTEL_TRACES_EXPORTER": "none"}},
		"unknown protocol":          {c: Config{Endpoint: "http://c:4317"}, env: map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, err: "http/json"},
	} {
		tc.c.Service = "portico"
		tc.c.Environment = func(name string) (string, bool) { v, ok := tc.env[name]; return v, ok }
		p, err := New(t.Context(), tc.c)
		if (p != nil) != tc.made || (err != nil) != (tc.err != "") || (err != nil && !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%s: %v, %v", name, p, err)
		}
		if p != nil {
			if err := p.Shutdown(t.Context()); err != nil {
				t.Errorf("%s: shutdown without spans: %v", name, err)
			}
		}
	}
}

// takes is a collector behind both protocols.
type takes struct {
	collectorv1.UnimplementedTraceServiceServer
	names chan string
}

func (c *takes) Export(_ context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	for _, of := range r.GetResourceSpans() {
		for _, scope := range of.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				c.names <- span.GetName()
			}
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

func (c *takes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var all collectorv1.ExportTraceServiceRequest
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = proto.Unmarshal(body, &all)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, r.URL.Path, http.StatusBadRequest)
		return
	}
	_, _ = c.Export(r.Context(), &all)
}

func TestExportWithTLS(t *testing.T) {
	c := &takes{names: make(chan string, 1)}
	overHTTP := httptest.NewTLSServer(c)
	defer overHTTP.Close()
	overGRPC := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&overHTTP.TLS.Certificates[0])))
	collectorv1.RegisterTraceServiceServer(overGRPC, c)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = overGRPC.Serve(listener) }()
	defer overGRPC.Stop()
	roots := x509.NewCertPool()
	roots.AddCert(overHTTP.Certificate())
	for protocol, endpoint := range map[string]string{HTTP: overHTTP.URL + "/v1/traces", GRPC: "https://" + listener.Addr().String()} {
		p, err := New(t.Context(), Config{
			Service: "portico", Endpoint: endpoint, Protocol: protocol, SamplingRatePerMillion: 1_000_000,
			TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, Environment: func(string) (string, bool) { return "", false },
		})
		if err != nil {
			t.Fatal(err)
		}
		_, span := p.Tracer("test").Start(t.Context(), protocol)
		span.End()
		if err := p.ForceFlush(t.Context()); err != nil {
			t.Errorf("%s: export: %v", protocol, err)
			continue
		}
		if got := <-c.names; got != protocol {
			t.Errorf("%s: the collector has %q", protocol, got)
		}
		if err := p.Shutdown(t.Context()); err != nil {
			t.Errorf("%s: shutdown: %v", protocol, err)
		}
	}
}
