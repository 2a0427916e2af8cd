// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"

	"k8s.io/apiserver/pkg/warning"
)

// warnings hands the warnings in a host's answer to a write on to the tenant
// who asked for the write.
type warnings struct{}

type warningsKey struct{}

// withWarnings lets the calls made with ctx warn the tenant about k.
func (s *Storage) withWarnings(ctx context.Context, k key) context.Context {
	return context.WithValue(ctx, warningsKey{}, func(text string) {
		if text, ok := s.cfg.Translator.WarningAbout(text, k.host, s.known(k)); ok {
			warning.AddWarning(ctx, "", text)
		}
	})
}

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
// Warnings without a waiting client, such as those about a list, are dropped.
func (warnings) HandleWarningHeaderWithContext(ctx context.Context, code int, _, text string) {
	if code != 299 || text == "" {
		return
	}
	if warn, ok := ctx.Value(warningsKey{}).(func(string)); ok {
		warn(text)
	}
}
