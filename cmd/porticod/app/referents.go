// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"

	"portico.dev/portico/proxy/host"
	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/variables"
)

// referents brings all that a pod reads onto the host ahead of it: the variables
// of Services, and the objects that the pod names.
type referents struct {
	variables *variables.Controller
	named     host.Referents
}

// Ensure implements host.Referents.
func (r referents) Ensure(ctx context.Context, namespace string, refs []rewrite.Reference) (settle func(refused bool), err error) {
	settleVariables, err := r.variables.Ensure(ctx, namespace)
	if err != nil {
		return nil, err
	}
	settleNamed, err := r.named.Ensure(ctx, namespace, refs)
	if err != nil {
		settleVariables(true)
		return nil, err
	}
	return func(refused bool) {
		settleNamed(refused)
		settleVariables(refused)
	}, nil
}
