// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/output"
)

// enterFlags say how to get into a cluster.
type enterFlags struct {
	print         bool
	server        string
	localPort     int
	contextName   string
	updateCurrent bool
	kubeConfig    string
	insecure      bool
	background    bool

	proxy, noWake   bool
	proxyExpiration int64

	serviceAccount, clusterRole string
	tokenExpiration             int64

	resume  bool
	timeout time.Duration
	command []string
}

func (f *enterFlags) register(flags *pflag.FlagSet) {
	f.updateCurrent = true
	flags.BoolVar(&f.print, "print", false, "print a kubeconfig, and change none")
	flags.StringVar(&f.server, "server", "", "address of the cluster's API (default: that of its Ingress, load balancer or node port, else a forwarded port)")
	flags.IntVar(&f.localPort, "local-port", 0, "local port that is forwarded (default: any)")
	flags.StringVar(&f.contextName, "kube-config-context-name", "", "name of the context (default: portico_NAME_NAMESPACE_HOSTCONTEXT)")
	flags.BoolVar(&f.updateCurrent, "update-current", f.updateCurrent, "write the context into the kubeconfig; false writes --kube-config instead")
	flags.StringVar(&f.kubeConfig, "kube-config", "", "file that is written with --update-current=false")
	flags.BoolVar(&f.insecure, "insecure", false, "do not verify the certificate of the API")
	flags.BoolVar(&f.background, "background", false, "forward the port in the background also at a terminal; portico disconnect ends it")
	flags.BoolVar(&f.proxy, "proxy", false, "use the host's gateway by CONNECT: the kubeconfig gets a proxy-url with a token of this cluster, and is to be kept as secret as a key")
	flags.BoolVar(&f.noWake, "no-wake", false, "with --proxy: a token that does not wake the cluster when it sleeps, for programs that come again by themselves")
	flags.Int64Var(&f.proxyExpiration, "proxy-expiration", int64((24 * time.Hour).Seconds()), "with --proxy: seconds that its token is valid")
	flags.StringVar(&f.serviceAccount, "service-account", "", "be this service account of the virtual cluster, NAMESPACE/NAME, or NAME in kube-system; it is made if it is not there")
	flags.StringVar(&f.clusterRole, "cluster-role", "", "ClusterRole of the virtual cluster that the service account gets")
	flags.Int64Var(&f.tokenExpiration, "token-expiration", 0, "seconds that the token of the service account is valid (default: ten years)")
}

// check refuses flags that make no sense, before anything is done.
func (f *enterFlags) check() error {
	switch {
	case f.server != "" && !strings.HasPrefix(f.server, "https://") && strings.Contains(f.server, "://"):
		return output.Misuse(output.WithHint(fmt.Errorf("--server %s: it is no address of an API", f.server), "give it as https://HOST:PORT"))
	case !f.updateCurrent && f.kubeConfig == "" && !f.print && len(f.command) == 0:
		return output.Misuse(output.WithHint(fmt.Errorf("--update-current=false: there is no file to write"), "name one with --kube-config, or use --print"))
	case f.serviceAccount == "" && (f.clusterRole != "" || f.tokenExpiration != 0):
		return output.Misuse(output.WithHint(errors.New("--cluster-role and --token-expiration are of a service account"), "name it with --service-account NAMESPACE/NAME"))
	case f.proxy && (f.server != "" || f.localPort != 0):
		return output.Misuse(output.WithHint(errors.New("--proxy, --server and --local-port are different ways"), "name one of them"))
	case f.noWake && !f.proxy:
		return output.Misuse(output.WithHint(errors.New("--no-wake is of a token for the gateway"), "add --proxy"))
	case f.proxy && f.proxyExpiration < 600:
		return output.Misuse(fmt.Errorf("--proxy-expiration %d: a token is valid for 600 seconds at least", f.proxyExpiration))
	case f.tokenExpiration != 0 && f.tokenExpiration < 600:
		return output.Misuse(fmt.Errorf("--token-expiration %d: a token is valid for 600 seconds at least", f.tokenExpiration))
	}
	if f.server != "" && !strings.HasPrefix(f.server, "https://") {
		f.server = "https://" + f.server
	}
	return nil
}

func (a *app) newConnect() *cobra.Command {
	f := enterFlags{timeout: defaultTimeout}
	c := &cobra.Command{
		Use:   "connect NAME [-- COMMAND ARGS...]",
		Short: "Lead kubectl into a virtual cluster, or run a command there",
		Long: `Make a virtual cluster the current context of kubectl. The one before is
remembered, and portico disconnect goes back to it.

A cluster with an Ingress, a load balancer or a node port that answers is reached
there, all others through the gateway of the host. Without one, a port of this
machine is forwarded: in the foreground at a terminal, until Ctrl-C, which also
goes back; in the background otherwise, until portico disconnect.

A cluster that sleeps is woken. One that is paused is not, unless one agrees.

With -- COMMAND, the command runs with a kubeconfig of its own, nothing else
changes, and its exit code is that of portico.`,
		Example: `  portico connect my-vcluster
  portico connect my-vcluster -- kubectl get ns
  portico connect my-vcluster --print --service-account ci --cluster-role view >ci.kubeconfig`,
		RunE: func(c *cobra.Command, args []string) error {
			if at := c.ArgsLenAtDash(); at >= 0 {
				args, f.command = args[:at], args[at:]
				if len(f.command) == 0 {
					return output.Misuse(fmt.Errorf("want a command after --"))
				}
			}
			if err := oneName(c, args); err != nil {
				return err
			}
			if err := f.check(); err != nil {
				return err
			}
			h, found, err := a.find(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.connect(c.Context(), h, found, f)
		},
	}
	f.register(c.Flags())
	c.Flags().BoolVar(&f.resume, "resume", false, "resume the cluster if it is paused")
	c.Flags().DurationVar(&f.timeout, "timeout", f.timeout, "how long to wait, at each step")
	return c
}

func (a *app) connect(ctx context.Context, h *host.Host, c *cluster.Cluster, f enterFlags) error {
	if c.State == cluster.Paused {
		if !f.resume && !a.agreed(c) {
			return output.WithHint(fmt.Errorf("virtual cluster %s is paused", c.Name), "--resume wakes it")
		}
		if err := a.resume(ctx, h, c, f.timeout); err != nil {
			return err
		}
	}
	if c.State == cluster.Sleeping {
		if err := cluster.Wake(ctx, h.Client, c); err != nil {
			return err
		}
	}
	if c.State == cluster.Scaled {
		return a.resume(ctx, h, c, f.timeout) // which names the fault
	}
	if err := a.serves(ctx, h, c.Namespace, c.Name, f.timeout); err != nil {
		return err
	}
	return a.enter(ctx, h, c, f)
}

// agreed asks a person whether a paused cluster shall be resumed.
func (a *app) agreed(c *cluster.Cluster) bool {
	if !a.streams.Terminal {
		return false
	}
	fmt.Fprintf(a.streams.Err, "virtual cluster %s is paused. Resume it? [y/N] ", c.Name)
	answer, _ := bufio.NewReader(a.streams.In).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}
