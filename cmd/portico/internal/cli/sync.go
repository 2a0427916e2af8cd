// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"portico.dev/portico/cmd/portico/internal/inpod"
)

func (a *app) newSync() *cobra.Command {
	c := &cobra.Command{Use: "sync", Short: "Look at kinds that are copied between a virtual cluster and its host"}
	c.AddCommand(&cobra.Command{
		Use:   "test NAME FILE",
		Short: "Print what the host would get of the objects that are there",
		Long: `Translate the objects of a virtual cluster by the sync.custom of FILE, which are
values of the chart, and print each before and after. Nothing is written, and the
cluster need not have the values yet. Objects that would stay inside have the
reason; fields that look like references and have no rule are listed.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			values, err := os.ReadFile(args[1])
			if err != nil {
				return fmt.Errorf("read the values: %w", err)
			}
			h, found, err := a.find(c.Context(), args[0])
			if err != nil {
				return err
			}
			pods, err := a.servingPods(c.Context(), h, found)
			if err != nil {
				return err
			}
			return inpod.Pipe(c.Context(), h.REST, h.Client, &pods[0], bytes.NewReader(values), a.streams.Out, "/porticod", "sync", "test", "--config="+configFile, "-")
		},
	})
	return c
}
