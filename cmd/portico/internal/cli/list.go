// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/duration"

	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/kubeconfig"
	"portico.dev/portico/cmd/portico/internal/output"
)

func (a *app) newList() *cobra.Command {
	var format string
	var all bool
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the virtual clusters of the host",
		Long: `List the virtual clusters of the host, of all namespaces unless -n names one. From
within a virtual cluster, those inside of it come first, then those next to it.
With -o json it is a list of objects, whose fields stay the same between
versions.`,
		Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := output.CheckFormat(format, output.Table, output.Wide, output.JSON, output.YAML); err != nil {
				return err
			}
			if all {
				a.namespace = ""
			}
			return a.list(c.Context(), format)
		},
	}
	c.Flags().StringVarP(&format, "output", "o", "", "json, yaml or wide")
	c.Flags().BoolVarP(&all, "all-namespaces", "A", false, "of all host namespaces, which is the default")
	return c
}

func (a *app) list(ctx context.Context, format string) error {
	var found []cluster.Cluster
	for o := a.host; ; {
		h, err := a.open(o, "")
		if err != nil {
			return err
		}
		some, err := finder(h).List(ctx, a.namespace)
		if apierrors.IsForbidden(err) && a.namespace == "" {
			err = output.WithHint(err, "-n NAMESPACE lists those of one host namespace")
		}
		if err != nil {
			return err
		}
		found = append(found, a.seen(h, some)...)
		if h.Inside == nil || a.host.Context != "" {
			break
		}
		o.Context = h.Inside.HostContext
	}
	if format == output.JSON || format == output.YAML {
		if found == nil {
			found = []cluster.Cluster{}
		}
		return output.Data(a.streams.Out, format, found)
	}
	if len(found) == 0 {
		a.streams.Say("there is no virtual cluster here; %s create NAME makes one", a.command)
		return nil
	}
	head := []string{"NAME", "NAMESPACE", "STATUS", "VERSION", "CONNECTED", "AGE"}
	if format == output.Wide {
		head = append(head, "READY", "WORKLOAD", "HOST", "CREATED", "SLEEPING SINCE", "LAST ACTIVITY")
	}
	var rows [][]string
	for _, c := range found {
		row := []string{c.Name, c.Namespace, string(c.State), c.Version, "", duration.HumanDuration(time.Duration(c.AgeSeconds) * time.Second)}
		if c.Connected {
			row[4] = "yes"
		}
		if format == output.Wide {
			row = append(row, fmt.Sprintf("%d/%d", c.Ready, c.Replicas), c.Kind, c.HostContext, c.Created.UTC().Format(time.RFC3339), stamp(c.SleepingSince), stamp(c.LastActivity))
		}
		rows = append(rows, row)
	}
	return output.Rows(a.streams.Out, head, rows)
}

// stamp is a time in a column.
func stamp(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// seen adds to clusters the fields that depend on the point of view.
func (a *app) seen(h *host.Host, some []cluster.Cluster) []cluster.Cluster {
	origin := a.connectedTo(h)
	for i := range some {
		c := &some[i]
		c.HostContext = h.Context
		c.AgeSeconds = int64(a.now().Sub(c.Created).Seconds())
		c.Connected = origin != nil && origin.Name == c.Name && origin.Namespace == c.Namespace && origin.HostContext == h.Context
	}
	return some
}

// connectedTo is where the current context leads, if into a virtual cluster.
func (a *app) connectedTo(h *host.Host) *kubeconfig.Origin {
	c, err := h.Kubeconfig.Merged()
	if err != nil {
		return nil
	}
	if origin, ours := kubeconfig.OriginOf(c, c.CurrentContext); ours {
		return &origin
	}
	return nil
}
