// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// withoutSecrets exports spans without the names of Secrets, which are in
// paths, keys of the store and errors.
type withoutSecrets struct{ sdktrace.SpanExporter }

// ExportSpans implements sdktrace.SpanExporter.
func (w withoutSecrets) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	clean := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, s := range spans {
		clean[i] = cleanSpan{s}
	}
	return w.SpanExporter.ExportSpans(ctx, clean)
}

type cleanSpan struct{ sdktrace.ReadOnlySpan }

// Attributes implements sdktrace.ReadOnlySpan.
func (s cleanSpan) Attributes() []attribute.KeyValue { return cleaned(s.ReadOnlySpan.Attributes()) }

// Events implements sdktrace.ReadOnlySpan.
func (s cleanSpan) Events() []sdktrace.Event {
	events := slices.Clone(s.ReadOnlySpan.Events())
	for i := range events {
		events[i].Name, events[i].Attributes = withoutNames(events[i].Name), cleaned(events[i].Attributes)
	}
	return events
}

// Status implements sdktrace.ReadOnlySpan.
func (s cleanSpan) Status() sdktrace.Status {
	status := s.ReadOnlySpan.Status()
	status.Description = withoutNames(status.Description)
	return status
}

// cleaned returns attributes without names of Secrets. Upstream's span of a
// request has the name in an attribute of its own.
func cleaned(attributes []attribute.KeyValue) []attribute.KeyValue {
	secret := slices.ContainsFunc(attributes, func(a attribute.KeyValue) bool {
		return a.Key == "resource" && a.Value.Type() == attribute.STRING && a.Value.AsString() == "secrets"
	})
	var clean []attribute.KeyValue
	for _, a := range attributes {
		if secret && a.Key == "name" {
			continue
		}
		if a.Value.Type() == attribute.STRING {
			a.Value = attribute.StringValue(withoutNames(a.Value.AsString()))
		}
		clean = append(clean, a)
	}
	return clean
}

var (
	secretPath  = regexp.MustCompile(`/secrets[/?].*`)
	secretError = regexp.MustCompile(`(?i)(secrets?(?:\.v1)?\s+)"[^"]*"`)
)

// withoutNames cuts a path at the name of a Secret, and takes it out of an error.
func withoutNames(text string) string {
	if !strings.Contains(strings.ToLower(text), "secret") {
		return text
	}
	return secretError.ReplaceAllString(secretPath.ReplaceAllString(text, "/secrets"), `$1"-"`)
}
