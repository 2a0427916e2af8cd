// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"

	componenttracing "k8s.io/component-base/tracing"

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/proxy/tracing"
)

// tracesOf makes the spans of a virtual cluster. It returns nil if tracing is
// off.
func tracesOf(ctx context.Context, cfg *config.Config) (*tracing.Provider, error) {
	t := cfg.Tracing
	verify, err := tracingTLS(t.TLS)
	if err != nil {
		return nil, fmt.Errorf("tracing.tls: %w", err)
	}
	provider, err := tracing.New(ctx, tracing.Config{
		Service:                "portico",
		Attributes:             map[string]string{"portico.cluster": cfg.Name, "k8s.namespace.name": cfg.Host.Namespace},
		Endpoint:               t.Endpoint,
		Protocol:               t.Protocol,
		TLS:                    verify,
		SamplingRatePerMillion: t.SamplingRatePerMillion,
		Environment:            os.LookupEnv,
	})
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	return provider, nil
}

// atDoor is the provider of the API server's handlers, or nil without traces.
func atDoor(p *tracing.Provider, trusted []string) componenttracing.TracerProvider {
	if p == nil {
		return nil
	}
	return p.Door(trusted)
}

// tracingTLS returns nil if nothing is configured.
func tracingTLS(t config.TracingTLS) (*tls.Config, error) {
	if t == (config.TracingTLS{}) {
		return nil, nil
	}
	return clientTLS(t.CAFile, t.CertFile, t.KeyFile)
}
