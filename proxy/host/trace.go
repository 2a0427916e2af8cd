// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/component-base/tracing"

	"portico.dev/portico/rewrite"
)

// slowTranslation is from when on a translation is worth a line in the log.
const slowTranslation = 100 * time.Millisecond

// translate makes the host form of a virtual object, in a span of its own.
func (s *Storage) translate(ctx context.Context, v runtime.Object, in rewrite.Inputs) (runtime.Object, error) {
	_, span := tracing.Start(ctx, "Translate to host", attribute.String("resource", s.kind.resource))
	defer span.End(slowTranslation)
	return s.cfg.Translator.ToHost(v, in)
}

// translatingBack begins the span of a translation of the host's answer.
func (s *Storage) translatingBack(ctx context.Context) (end func()) {
	_, span := tracing.Start(ctx, "Translate to virtual", attribute.String("resource", s.kind.resource))
	return func() { span.End(slowTranslation) }
}
