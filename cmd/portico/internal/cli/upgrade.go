// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"time"

	"github.com/spf13/cobra"

	"portico.dev/portico/cmd/portico/internal/release"
)

func (a *app) newUpgrade() *cobra.Command {
	f := struct {
		valueFlags
		wait    bool
		timeout time.Duration
	}{wait: true, timeout: defaultTimeout}
	c := &cobra.Command{
		Use:   "upgrade NAME",
		Short: "Bring a virtual cluster to the version of this program",
		Long: `Bring a virtual cluster to the version of this program, and change the values
that are named. All others stay as they are. Pods of the cluster go on.`,
		Args: oneName,
		RunE: func(c *cobra.Command, args []string) error {
			values, err := a.values(f.valueFlags)
			if err != nil {
				return err
			}
			h, found, err := a.find(c.Context(), args[0])
			if err != nil {
				return err
			}
			r := release.Request{Name: found.Name, Values: values, Change: true, Timeout: f.timeout}
			if err := a.apply(c.Context(), h, found.Namespace, r); err != nil || !f.wait {
				return err
			}
			return a.serves(c.Context(), h, found.Namespace, found.Name, f.timeout)
		},
	}
	flags := c.Flags()
	flags.StringArrayVarP(&f.files, "values", "f", nil, "file with values, or - for standard input; may be repeated, the later wins")
	flags.StringArrayVar(&f.set, "set", nil, "a value, as KEY.KEY=VALUE; may be repeated")
	flags.BoolVar(&f.wait, "wait", f.wait, "wait until the cluster serves")
	flags.DurationVar(&f.timeout, "timeout", f.timeout, "how long to wait, at each step")
	return c
}
