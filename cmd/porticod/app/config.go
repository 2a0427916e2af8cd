// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"portico.dev/portico/cmd/porticod/config"
)

func newConfig(s Streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Describe the configuration of porticod serve",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of portico.yaml, for editors and other tools",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			schema := config.Schema()
			schema["$schema"] = config.SchemaDialect
			e := json.NewEncoder(s.Out)
			e.SetIndent("", "  ")
			return e.Encode(schema)
		},
	}, &cobra.Command{
		Use:   "docs",
		Short: "Print all keys of portico.yaml with their defaults and meanings, in Markdown",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(s.Out, config.Reference())
			return err
		},
	})
	return c
}
