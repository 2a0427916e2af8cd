// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"fmt"

	"github.com/spf13/cobra"

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/cmd/porticod/rights"
)

func newRights(s Streams) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "rights",
		Short: "Print the rights on the host that a configuration needs",
		Long: `Print the Role, and the Roles in other namespaces and the ClusterRole if they
are needed, that porticod needs on the host with a configuration, as YAML for
kubectl apply. Without --config: those of a cluster with nothing configured.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c := config.Default()
			if file != "" {
				var err error
				if c, err = config.Read(file); err != nil {
					return &usageError{withHint(err, "docs/configuration.md explains each key")}
				}
			}
			_, err := fmt.Fprint(s.Out, rights.Manifest("porticod", c.Host.Namespace, rights.For(c)))
			return err
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "configuration file (portico.yaml)")
	return c
}
