// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"portico.dev/portico/cmd/portico/internal/forward"
	"portico.dev/portico/cmd/portico/internal/kubeconfig"
	"portico.dev/portico/cmd/portico/internal/output"
)

func (a *app) newDisconnect() *cobra.Command {
	return &cobra.Command{
		Use:   "disconnect [NAME]",
		Short: "Go back to the context that was there before connect",
		Long: `Go back from a virtual cluster to the context that was current before, and end
the forward in the background if there is one. Without a name it is the cluster
that the current context leads into.`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return oneName(c, args)
			}
			file := kubeconfig.Locate(a.host.Kubeconfig)
			all, err := file.Merged()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				origin, ours := kubeconfig.OriginOf(all, all.CurrentContext)
				if !ours {
					return output.WithHint(fmt.Errorf("the current context %q leads into no virtual cluster", all.CurrentContext),
						"%s list shows those that there are; disconnect NAME ends a forward in the background", a.command)
				}
				return a.leave(c.Context(), file, origin, false)
			}
			left := 0
			for name := range all.Contexts {
				origin, ours := kubeconfig.OriginOf(all, name)
				if ours && origin.Name == args[0] && (a.namespace == "" || a.namespace == origin.Namespace) {
					left++
					if err := a.leave(c.Context(), file, origin, false); err != nil {
						return err
					}
				}
			}
			ended, err := a.endForwards(c.Context(), func(s forward.Spec) bool {
				return s.Name == args[0] && (a.namespace == "" || s.Namespace == a.namespace)
			})
			if err == nil && left+ended == 0 {
				err = fmt.Errorf("no context leads into a virtual cluster %s, and nothing is forwarded to it", args[0])
			}
			return err
		},
	}
}

// leave ends the ways into a cluster: the forward in the background, and the
// context as the current one. With remove, all contexts of the cluster go.
func (a *app) leave(ctx context.Context, file kubeconfig.File, origin kubeconfig.Origin, remove bool) error {
	_, err := a.endForwards(ctx, func(s forward.Spec) bool {
		return s.Name == origin.Name && s.Namespace == origin.Namespace && s.HostContext == origin.HostContext
	})
	if err != nil {
		return err
	}
	all, err := file.Merged()
	if err != nil {
		return err
	}
	for _, name := range kubeconfig.ContextsOf(all, origin) {
		next, err := kubeconfig.Leave(file, name, remove)
		if err != nil {
			return err
		}
		if name == all.CurrentContext {
			a.streams.Say("%s", current(next))
		}
	}
	return nil
}

// endForwards ends the background forwards that match.
func (a *app) endForwards(ctx context.Context, match func(forward.Spec) bool) (int, error) {
	dir, err := a.background()
	if err != nil {
		return 0, err
	}
	all, err := forward.All(dir)
	if err != nil {
		return 0, err
	}
	ended := 0
	for _, b := range all {
		if match(b.Spec) {
			ended++
			if err := b.Stop(ctx); err != nil {
				return ended, err
			}
		}
	}
	return ended, nil
}
