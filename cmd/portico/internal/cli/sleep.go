// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"portico.dev/portico/cmd/portico/internal/cluster"
)

func (a *app) newSleep() *cobra.Command {
	timeout := defaultTimeout
	c := &cobra.Command{
		Use:   "sleep NAME",
		Short: "End the control plane of a virtual cluster until a client comes",
		Long: `End the control plane of a virtual cluster now, as it does by itself after
sleep.afterInactivity or by sleep.schedule. Its pods go on running, unless
sleep.scope is workloads. A connection through the gateway wakes it, and so do
portico wake and portico connect. portico pause takes the pods off the host in any
case, and nothing but portico resume brings them back.`,
		Args: oneName,
		RunE: func(c *cobra.Command, args []string) error {
			h, found, err := a.find(c.Context(), args[0])
			if err != nil {
				return err
			}
			err = a.within(c.Context(), timeout, "virtual cluster "+found.Name+" to go to sleep", func(ctx context.Context, report func(string)) error {
				return cluster.Sleep(ctx, h.Client, found, report)
			})
			if err != nil {
				return err
			}
			a.streams.Say("virtual cluster %s sleeps; %s wake %s -n %s wakes it, and so does the next client of the gateway", found.Name, a.command, found.Name, found.Namespace)
			return nil
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", timeout, "how long to wait")
	return c
}

func (a *app) newWake() *cobra.Command {
	timeout := defaultTimeout
	c := &cobra.Command{
		Use:   "wake NAME",
		Short: "Wake a virtual cluster that sleeps",
		Args:  oneName,
		RunE: func(c *cobra.Command, args []string) error {
			h, found, err := a.find(c.Context(), args[0])
			if err != nil {
				return err
			}
			if err := cluster.Wake(c.Context(), h.Client, found); err != nil {
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
