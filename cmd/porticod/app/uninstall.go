// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/proxy/door"
)

func newUninstall(s Streams) *cobra.Command {
	var loader *config.Loader
	timeout := 5 * time.Minute
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove everything of a virtual cluster from its host, with the tenant's data",
		Long: `Remove everything of a virtual cluster from its host: pods, Services, volume
claims with their data, Secrets, ConfigMaps, and the anchor that owns them. The
control plane must have been removed before. Its own volume stays.

The chart runs this after a release is deleted. Run it by hand where the release
was deleted without hooks, or porticod was not installed by the chart.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loader.Load()
			if err != nil {
				return &usageError{withHint(err, "docs/configuration.md explains each key")}
			}
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			return runUninstall(ctx, s, cfg)
		},
	}
	loader = config.NewLoader(c.Flags(), os.LookupEnv)
	c.Flags().DurationVar(&timeout, "timeout", timeout, "how long to wait until everything is gone")
	return c
}

func runUninstall(ctx context.Context, s Streams, cfg *config.Config) error {
	hostConfig, err := hostClientConfig(cfg)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(hostConfig)
	if err != nil {
		return fmt.Errorf("host client: %w", err)
	}
	meta, err := metadata.NewForConfig(hostConfig)
	if err != nil {
		return fmt.Errorf("host client: %w", err)
	}
	err = door.Removal{
		Cluster: cfg.Name, Namespace: cfg.Host.Namespace,
		ResourceClaims: cfg.Sync.ToHost.ResourceClaims.Enabled, PriorityClasses: cfg.Sync.ToHost.PriorityClasses.Enabled,
		PersistentVolumes: cfg.Sync.ToHost.PersistentVolumes.Enabled,
		StorageClasses:    cfg.Sync.ToHost.StorageClasses.Enabled,
		Report:            func(left string) { fmt.Fprintf(s.Err, "removing %s\n", left) },
	}.Run(ctx, client, meta)
	switch {
	case errors.Is(err, door.ErrInUse):
		return withHint(err, "delete the release first (portico delete, helm uninstall), or the workload that runs porticod")
	case errors.Is(err, context.DeadlineExceeded):
		return withHint(err, "look for their finalizers, and run this again")
	case err != nil:
		return err
	}
	fmt.Fprintf(s.Err, "removed virtual cluster %s from host namespace %s\n", cfg.Name, cfg.Host.Namespace)
	return nil
}
