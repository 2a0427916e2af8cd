// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"portico.dev/portico/cmd/portico/internal/access"
	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/inpod"
	"portico.dev/portico/cmd/portico/internal/kubeconfig"
	"portico.dev/portico/cmd/portico/internal/output"
	"portico.dev/portico/cmd/portico/internal/wait"
)

// configFile is where the chart puts the configuration in the container, and
// dataDir where the data is.
const (
	configFile = "/etc/portico/portico.yaml"
	dataDir    = "/var/lib/portico"
)

func (a *app) newRotate() *cobra.Command {
	timeout := defaultTimeout
	c := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Make new credentials for the administrator of a virtual cluster",
		Long: `Make new credentials for the administrator of a virtual cluster. Those of before
are refused from then on, wherever they are. The Secret on the host and the
contexts of this kubeconfig get the new ones; kubeconfigs that were handed out do
not.`,
		Args: oneName,
		RunE: func(c *cobra.Command, args []string) error {
			h, found, err := a.find(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.rotate(c.Context(), h, found, timeout)
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", timeout, "how long to wait")
	return c
}

func (a *app) rotate(ctx context.Context, h *host.Host, c *cluster.Cluster, limit time.Duration) error {
	pods, err := a.servingPods(ctx, h, c)
	if err != nil {
		return err
	}
	before, _, err := access.Administrator(ctx, h.Client, c.Namespace, c.Name)
	if err != nil {
		return err
	}
	if err := inpod.Run(ctx, h.REST, h.Client, &pods[0], a.streams.Err, "/porticod", "rotate", "--config="+configFile); err != nil {
		return err
	}
	var after access.Credentials
	err = wait.Until(ctx, wait.Options{
		For: "the new credentials in the Secret " + cluster.Secret(c.Name), Limit: limit, Flag: "--timeout", Say: a.streams.Say,
	}, func(ctx context.Context) (there bool, err error) {
		after, there, err = access.Administrator(ctx, h.Client, c.Namespace, c.Name)
		return there && !bytes.Equal(before.Cert, after.Cert), err
	})
	if err != nil {
		return err
	}
	renewed, err := kubeconfig.Renew(h.Kubeconfig, kubeconfig.Origin{Name: c.Name, Namespace: c.Namespace, HostContext: h.Context}, after.CA, after.Cert, after.Key)
	if err != nil {
		return err
	}
	a.streams.Say("virtual cluster %s has new credentials, and %d contexts of this kubeconfig have them", c.Name, renewed)
	return nil
}

// servingPods returns the pods of a cluster, of which the first is ready.
func (a *app) servingPods(ctx context.Context, h *host.Host, c *cluster.Cluster) ([]corev1.Pod, error) {
	pods, err := inpod.List(ctx, h.Client, c.Namespace, c.Name)
	if err != nil {
		return nil, err
	}
	if len(pods) == 0 || !wait.Ready(&pods[0]) {
		return nil, output.WithHint(fmt.Errorf("virtual cluster %s does not serve: it is %s", c.Name, c.State), "%s status %s says why", a.command, c.Name)
	}
	return pods, nil
}
