// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type dryRunKey struct{}

// WithDryRun marks a context as that of a write that is tried and not made: the
// host is asked with dryRun=All, and its answer is the tenant's. Nothing is
// brought onto the host for it, and nothing of the answer is remembered.
//
// The generic registry never passes a dry run to its storage but answers
// itself, without the host's defaults and refusals. So a caller above it takes
// the option away and marks the context.
func WithDryRun(ctx context.Context) context.Context {
	return context.WithValue(ctx, dryRunKey{}, true)
}

// IsDryRun reports whether a context is that of a write that is tried and not made.
func IsDryRun(ctx context.Context) bool { return ctx.Value(dryRunKey{}) != nil }

// dryRun is the option of a call to the host. All calls that write take it from
// the context, so none is made by mistake.
func dryRun(ctx context.Context) []string {
	if IsDryRun(ctx) {
		return []string{metav1.DryRunAll}
	}
	return nil
}
