// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/wait"
)

func (a *app) newPause() *cobra.Command {
	timeout := defaultTimeout
	c := &cobra.Command{
		Use:   "pause NAME",
		Short: "Take a virtual cluster off its host",
		Long: `Take a virtual cluster off its host: its control plane ends, and then its pods.
Services with their addresses, volumes and everything else stay. portico resume
brings it all back, also pods that no controller makes again.`,
		Args: oneName,
		RunE: func(c *cobra.Command, args []string) error {
			h, found, err := a.find(c.Context(), args[0])
			if err != nil {
				return err
			}
			if err := a.pause(c.Context(), h, found, timeout); err != nil {
				return err
			}
			a.streams.Say("virtual cluster %s is paused; %s resume %s -n %s brings it back", found.Name, a.command, found.Name, found.Namespace)
			return nil
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", timeout, "how long to wait")
	return c
}

func (a *app) newResume() *cobra.Command {
	timeout := defaultTimeout
	c := &cobra.Command{
		Use:     "resume NAME",
		Aliases: []string{"wakeup"},
		Short:   "Bring a virtual cluster back that is paused or sleeps",
		Args:    oneName,
		RunE: func(c *cobra.Command, args []string) error {
			h, found, err := a.find(c.Context(), args[0])
			if err != nil {
				return err
			}
			if err := a.resume(c.Context(), h, found, timeout); err != nil {
				return err
			}
			if err := a.serves(c.Context(), h, found.Namespace, found.Name, timeout); err != nil {
				return err
			}
			a.streams.Say("virtual cluster %s serves", found.Name)
			return nil
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", timeout, "how long to wait")
	return c
}

func (a *app) pause(ctx context.Context, h *host.Host, c *cluster.Cluster, limit time.Duration) error {
	return a.within(ctx, limit, "virtual cluster "+c.Name+" to leave its host", func(ctx context.Context, report func(string)) error {
		return cluster.Pause(ctx, h.Client, c, report)
	})
}

func (a *app) resume(ctx context.Context, h *host.Host, c *cluster.Cluster, limit time.Duration) error {
	return a.within(ctx, limit, "the pods of virtual cluster "+c.Name+" to come back", func(ctx context.Context, report func(string)) error {
		return cluster.Resume(ctx, h.Client, c, report)
	})
}

// within does a piece of work that waits for itself, with a limit, and shows its
// last step when it takes long. The work has ended when within returns.
func (a *app) within(ctx context.Context, limit time.Duration, what string, work func(context.Context, func(string)) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var step atomic.Value
	step.Store("")
	done := make(chan error, 1)
	go func() { done <- work(ctx, func(s string) { step.Store(s) }) }()
	ended := false
	err := wait.Until(ctx, wait.Options{
		For: what, Limit: limit, Flag: "--timeout", Say: a.streams.Say,
		Why: func(context.Context) string { return step.Load().(string) },
	}, func(context.Context) (bool, error) {
		select {
		case err := <-done:
			ended = true
			return true, err
		default:
			return false, nil
		}
	})
	if !ended {
		cancel()
		<-done //nolint:errcheck // The error of the wait says more.
	}
	return err
}
