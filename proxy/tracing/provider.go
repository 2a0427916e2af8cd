// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/credentials"
	"k8s.io/klog/v2"
)

// Protocols between us and a collector, by their names in OpenTelemetry's
// variables.
const (
	GRPC = "grpc"
	HTTP = "http/protobuf"
)

// Config of a provider. The standard variables OTEL_* have the other settings.
type Config struct {
	// Service and Attributes are in every span, unless OTEL_SERVICE_NAME or
	// OTEL_RESOURCE_ATTRIBUTES say something else.
	Service    string
	Attributes map[string]string
	// Endpoint is the collector's URL, with https for TLS. Empty leaves it to
	// OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT.
	Endpoint string
	// Protocol is GRPC or HTTP. Empty leaves it to
	// OTEL_EXPORTER_OTLP_PROTOCOL, which stands for GRPC when it is not set.
	Protocol string
	// TLS verifies the collector. Nil leaves it to the variables.
	TLS *tls.Config
	// SamplingRatePerMillion is how many of a million requests are traced.
	// OTEL_TRACES_SAMPLER is stronger.
	SamplingRatePerMillion int
	// Environment looks a variable up.
	Environment func(name string) (string, bool)
}

// Provider makes spans and exports them.
type Provider struct {
	*sdktrace.TracerProvider
}

// shutdownTimeout bounds how long the end of the process waits for a collector.
const shutdownTimeout = 3 * time.Second

// New returns nil if neither c nor the environment names a collector. The
// collector does not have to be there yet.
func New(ctx context.Context, c Config) (*Provider, error) {
	if !c.wanted() {
		return nil, nil
	}
	exporter, err := c.exporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("exporter of traces: %w", err)
	}
	o, err := c.options(ctx)
	if err != nil {
		return nil, err
	}
	reportErrors(ctx)
	return &Provider{sdktrace.NewTracerProvider(append(o, sdktrace.WithBatcher(withoutSecrets{exporter}))...)}, nil
}

// Shutdown exports the last spans if the collector takes them soon.
func (p *Provider) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	return p.TracerProvider.Shutdown(ctx)
}

func (c *Config) variable(names ...string) string {
	for _, name := range names {
		if value, set := c.Environment(name); set && value != "" {
			return value
		}
	}
	return ""
}

func (c *Config) wanted() bool {
	if c.variable("OTEL_SDK_DISABLED") == "true" || c.variable("OTEL_TRACES_EXPORTER") == "none" {
		return false
	}
	return c.Endpoint != "" || c.variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") != ""
}

func (c *Config) exporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	protocol := cmp.Or(c.Protocol, c.variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"), GRPC)
	switch protocol {
	case GRPC:
		var o []otlptracegrpc.Option
		if c.Endpoint != "" {
			o = append(o, otlptracegrpc.WithEndpointURL(c.Endpoint))
		}
		if c.TLS != nil {
			o = append(o, otlptracegrpc.WithTLSCredentials(credentials.NewTLS(c.TLS)))
		}
		return otlptracegrpc.New(ctx, o...)
	case HTTP:
		var o []otlptracehttp.Option
		if c.Endpoint != "" {
			o = append(o, otlptracehttp.WithEndpointURL(c.Endpoint))
		}
		if c.TLS != nil {
			o = append(o, otlptracehttp.WithTLSClientConfig(c.TLS))
		}
		return otlptracehttp.New(ctx, o...)
	}
	return nil, fmt.Errorf("protocol %q is neither %s nor %s", protocol, GRPC, HTTP)
}

func (c *Config) options(ctx context.Context) ([]sdktrace.TracerProviderOption, error) {
	about := []attribute.KeyValue{attribute.String("service.name", c.Service)}
	for key, value := range c.Attributes {
		about = append(about, attribute.String(key, value))
	}
	r, err := resource.New(ctx, resource.WithAttributes(about...), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("attributes of all spans: %w", err)
	}
	o := []sdktrace.TracerProviderOption{sdktrace.WithResource(r)}
	if c.variable("OTEL_TRACES_SAMPLER") == "" {
		own := sdktrace.TraceIDRatioBased(float64(c.SamplingRatePerMillion) / 1e6)
		o = append(o, sdktrace.WithSampler(sdktrace.ParentBased(own)))
	}
	return o, nil
}

// reportErrors logs the errors of exporters, a few of them.
func reportErrors(ctx context.Context) {
	seldom := rate.Sometimes{First: 1, Interval: time.Minute}
	log := klog.FromContext(ctx)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		seldom.Do(func() { log.Info("Traces are not exported", "err", err) })
	}))
}
