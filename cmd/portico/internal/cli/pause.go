// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/wait"
)

func (a *app) newPause() *cobra.Command {
	timeout := defaultTimeout
	c := &cobra.Command{
		Use:     "pause NAME",
		Aliases: []string{"sleep"},
		Short:   "Stop the control plane of a virtual cluster",
		Long: `Stop the control plane of a virtual cluster. Everything else stays: its pods run
on, on the host, and are not replaced when they end. portico resume brings the
control plane back.`,
		Args: oneName,
		RunE: func(c *cobra.Command, args []string) error {
			h, found, err := a.find(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.pause(c.Context(), h, found, timeout)
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
		Short:   "Start the control plane of a paused virtual cluster",
		Args:    oneName,
		RunE: func(c *cobra.Command, args []string) error {
			h, found, err := a.find(c.Context(), args[0])
			if err != nil {
				return err
			}
			if err := cluster.Resume(c.Context(), h.Client, found); err != nil {
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

// pause stops the control plane and waits until it has ended: until then, it
// answers.
func (a *app) pause(ctx context.Context, h *host.Host, c *cluster.Cluster, limit time.Duration) error {
	if err := cluster.Pause(ctx, h.Client, c, a.now()); err != nil {
		return err
	}
	err := wait.Until(ctx, wait.Options{
		For: "the control plane of " + c.Name + " to end", Limit: limit, Flag: "--timeout", Say: a.streams.Say,
		Why: wait.Pods(h.Client, c.Namespace, cluster.DoorPods(c.Name), c.Name),
	}, func(ctx context.Context) (bool, error) {
		pods, err := h.Client.CoreV1().Pods(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: cluster.DoorPods(c.Name)})
		if err != nil {
			return false, fmt.Errorf("list the pods of %s: %w", c.Name, err)
		}
		return len(pods.Items) == 0, nil
	})
	if err != nil {
		return err
	}
	a.streams.Say("virtual cluster %s is paused; %s resume %s -n %s starts it again", c.Name, a.command, c.Name, c.Namespace)
	return nil
}
