// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"portico.dev/portico/cmd/portico/internal/output"
	"portico.dev/portico/cmd/portico/internal/ui"
)

func (a *app) newUI() *cobra.Command {
	port := 0
	c := &cobra.Command{
		Use:   "ui",
		Short: "Show the virtual clusters of the host in a browser",
		Long: `Show the virtual clusters of the host in a browser: their states, versions, pods
and costs, with buttons for pause, resume, sleep, wake and delete. -n shows those of
one host namespace.

The page is served to this machine until the command is interrupted. It can do what
your kubeconfig lets you do. The printed link lets in one browser, once: give it to
nobody.`,
		Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			if port < 0 || port > 65535 {
				return output.Misuse(output.WithHint(fmt.Errorf("--port %d: there is no such port", port), "0 lets the system choose"))
			}
			h, err := a.open(a.host, "")
			if err != nil {
				return err
			}
			source, err := a.newUISource(h)
			if err != nil {
				return err
			}
			server, err := ui.Listen(c.Context(), source, port)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.streams.Out, server.Link())
			a.streams.Say("open this link in a browser of this machine; it works once. Ctrl-C ends the page")
			return server.Serve()
		},
	}
	c.Flags().IntVar(&port, "port", port, "local port (default: a free one)")
	return c
}
