// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"github.com/spf13/cobra"

	"portico.dev/portico/cmd/porticod/demo"
)

func newDemo(s Streams) *cobra.Command {
	var o demo.Options
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show a virtual cluster on an embedded host cluster",
		Long: `Start an embedded host cluster and a virtual cluster on it, run a Deployment in
the virtual one, and show the same objects as the tenant and as the host see
them. Both keep running until you interrupt the command.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return demo.Run(c.Context(), demo.Streams{Out: s.Out, Err: s.Err}, o)
		},
	}
	c.Flags().BoolVar(&o.Once, "once", false, "end when everything has been shown")
	c.Flags().StringVar(&o.Dir, "dir", "", "keep data, logs and kubeconfigs here; default: a temporary directory")
	return c
}
