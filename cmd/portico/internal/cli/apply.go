// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"portico.dev/portico/cmd/portico/internal/access"
	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/output"
	"portico.dev/portico/cmd/portico/internal/release"
	"portico.dev/portico/cmd/portico/internal/wait"
)

// namespaceLimit is how long an old namespace has to go.
const namespaceLimit = 2 * time.Minute

// apply makes the release as requested, in a namespace that it makes if needed.
func (a *app) apply(ctx context.Context, h *host.Host, namespace string, r release.Request) error {
	if err := a.mayApply(ctx, h, namespace, r.Name); err != nil {
		return err
	}
	err := wait.Until(ctx, wait.Options{
		For: fmt.Sprintf("the old host namespace %s to go", namespace), Limit: namespaceLimit, Say: a.streams.Say,
	}, func(ctx context.Context) (bool, error) {
		return cluster.EnsureNamespace(ctx, h.Client, namespace, r.Name)
	})
	if err != nil {
		return err
	}
	releases, err := a.releases(h, namespace)
	if err != nil {
		return err
	}
	outcome, err := releases.Apply(ctx, r)
	if err != nil {
		return err
	}
	a.streams.Say("virtual cluster %s in the host namespace %s: %s", r.Name, namespace, outcome)
	return nil
}

// mayApply refuses a change with effects that the user did not ask for. A cluster
// that sleeps is woken first: the chart writes no number of replicas.
func (a *app) mayApply(ctx context.Context, h *host.Host, namespace, name string) error {
	c, err := finder(h).Get(ctx, namespace, name)
	if errors.Is(err, cluster.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if c.State == cluster.Paused {
		return output.WithHint(fmt.Errorf("virtual cluster %s is paused", name),
			"%s resume %s -n %s wakes it; an upgrade would do so without a word", a.command, name, namespace)
	}
	if c.State == cluster.Sleeping {
		return cluster.Wake(ctx, h.Client, c)
	}
	return nil
}

// serves waits until all replicas are ready and the administrator's credentials
// are there.
func (a *app) serves(ctx context.Context, h *host.Host, namespace, name string, limit time.Duration) error {
	return wait.Until(ctx, wait.Options{
		For: "virtual cluster " + name + " to serve", Limit: limit, Flag: "--timeout", Say: a.streams.Say,
		Why: a.why(h, namespace, name),
	}, func(ctx context.Context) (bool, error) {
		c, err := finder(h).Get(ctx, namespace, name)
		if errors.Is(err, cluster.ErrNotFound) {
			return false, nil
		}
		if err != nil || !c.Settled() {
			return false, err
		}
		_, there, err := access.Administrator(ctx, h.Client, namespace, name)
		return there, err
	})
}

// why names the missing part of a cluster that should serve.
func (a *app) why(h *host.Host, namespace, name string) func(context.Context) string {
	pods := wait.Pods(h.Client, namespace, cluster.DoorPods(name), name)
	return func(ctx context.Context) string {
		if reason := pods(ctx); reason != "" {
			return reason
		}
		if _, there, err := access.Administrator(ctx, h.Client, namespace, name); err == nil && !there {
			return fmt.Sprintf("porticod has not written the Secret %s yet", cluster.Secret(name))
		}
		return "not all replicas are of the newest kind"
	}
}
