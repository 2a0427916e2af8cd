// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/inpod"
	"portico.dev/portico/cmd/portico/internal/output"
)

func (a *app) newLogs() *cobra.Command {
	var o corev1.PodLogOptions
	var since time.Duration
	tail := int64(-1)
	c := &cobra.Command{
		Use:   "logs NAME",
		Short: "Show the log of a virtual cluster's control plane",
		Args:  oneName,
		RunE: func(c *cobra.Command, args []string) error {
			if tail >= 0 {
				o.TailLines = &tail
			}
			if since > 0 {
				seconds := int64(since.Seconds())
				o.SinceSeconds = &seconds
			}
			h, found, err := a.find(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.logs(c.Context(), h, found, o)
		},
	}
	flags := c.Flags()
	flags.BoolVarP(&o.Follow, "follow", "f", false, "go on with new lines")
	flags.BoolVarP(&o.Previous, "previous", "p", false, "of the container that ran before")
	flags.BoolVar(&o.Timestamps, "timestamps", false, "begin each line with its time")
	flags.Int64Var(&tail, "tail", tail, "so many lines of the end (default: all)")
	flags.DurationVar(&since, "since", 0, "lines that are not older")
	return c
}

// logs shows the logs of all pods at once; with more than one, each line begins
// with its pod.
func (a *app) logs(ctx context.Context, h *host.Host, c *cluster.Cluster, o corev1.PodLogOptions) error {
	pods, err := inpod.List(ctx, h.Client, c.Namespace, c.Name)
	if err != nil {
		return err
	}
	if len(pods) == 0 {
		return output.WithHint(fmt.Errorf("virtual cluster %s has no pod, and so no log", c.Name), "%s status %s says why", a.command, c.Name)
	}
	if len(pods) == 1 {
		return inpod.Log(ctx, h.Client, &pods[0], o, a.streams.Out)
	}
	var all errgroup.Group
	var mu sync.Mutex
	for i := range pods {
		from, to := io.Pipe()
		all.Go(func() error {
			err := inpod.Log(ctx, h.Client, &pods[i], o, to)
			to.CloseWithError(err) // It returns none.
			return err
		})
		all.Go(func() error {
			lines := bufio.NewReader(from)
			for {
				line, err := lines.ReadString('\n')
				if line != "" {
					mu.Lock()
					fmt.Fprintf(a.streams.Out, "%s: %s\n", pods[i].Name, trimNewline(line))
					mu.Unlock()
				}
				if err != nil {
					return nil //nolint:nilerr // The writer returns it.
				}
			}
		})
	}
	return all.Wait()
}

func trimNewline(line string) string {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		return line[:n-1]
	}
	return line
}
