// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/inpod"
	"portico.dev/portico/cmd/portico/internal/output"
)

func (a *app) newSnapshot() *cobra.Command {
	return &cobra.Command{
		Use:   "snapshot NAME FILE",
		Short: "Save the store of a virtual cluster to a file",
		Long: `Save the store of a virtual cluster with its certificates and keys to a new file,
while it serves. Anyone who can read the file can do anything in the cluster. FILE
may be - for standard output.

Pods, Services, claims and the data of volumes are the host's, and not in it.
portico restore puts the file in the place of the store again.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return output.Misuse(output.WithHint(fmt.Errorf("want NAME and FILE, got %d arguments", len(args)), "see %s --help", c.CommandPath()))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			h, found, err := a.find(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.snapshot(c.Context(), h, found, args[1])
		},
	}
}

func (a *app) snapshot(ctx context.Context, h *host.Host, c *cluster.Cluster, path string) error {
	if c.Kind == cluster.Deployment {
		return output.WithHint(fmt.Errorf("virtual cluster %s has a shared store, of which portico makes no snapshot", c.Name),
			"save the etcd or the database with its own tools")
	}
	pods, err := a.servingPods(ctx, h, c)
	if err != nil {
		return err
	}
	save := []string{"/porticod", "snapshot", "save", dataDir, "-"}
	if path == "-" {
		return inpod.Run(ctx, h.REST, h.Client, &pods[0], a.streams.Out, save...)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return output.WithHint(fmt.Errorf("save a snapshot: %s exists", path), "name a file that is not there")
	}
	// A part of a snapshot never has the name of a whole one.
	part, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("save a snapshot: %w", err)
	}
	defer os.Remove(part.Name()) //nolint:errcheck // It is gone if it was renamed.
	err = inpod.Run(ctx, h.REST, h.Client, &pods[0], part, save...)
	if err = errors.Join(err, part.Sync(), part.Close()); err != nil {
		return err
	}
	if err := os.Rename(part.Name(), path); err != nil {
		return fmt.Errorf("save a snapshot: %w", err)
	}
	a.streams.Say("saved the store of %s to %s", c.Name, path)
	return nil
}
