// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"portico.dev/portico/cmd/portico/internal/forward"
	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/output"
)

// newForward is the child of a background forward.
func (a *app) newForward() *cobra.Command {
	return &cobra.Command{
		Use: forward.Subcommand + " FILE", Hidden: true,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return output.Misuse(fmt.Errorf("want FILE"))
			}
			return forward.Serve(c.Context(), args[0], func(s forward.Spec) (forward.Dial, error) {
				h, err := a.open(host.Options{Kubeconfig: s.Kubeconfig, Context: s.HostContext}, "")
				if err != nil {
					return nil, err
				}
				if h.REST.Host != s.Host {
					return nil, fmt.Errorf("the context %s leads to %s now, and led to %s", s.HostContext, h.REST.Host, s.Host)
				}
				return forward.ToPod(h.REST, h.Client, s.Namespace, s.Name), nil
			}, a.streams.Say)
		},
	}
}
