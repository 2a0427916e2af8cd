// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/release"
)

type createFlags struct {
	valueFlags
	connect, upgrade, expose, isolate, wait bool
	timeout                                 time.Duration
	distro, kubernetes                      string
	enter                                   enterFlags
}

func (a *app) newCreate() *cobra.Command {
	f := createFlags{connect: true, wait: true, timeout: defaultTimeout}
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a virtual cluster, and connect to it",
		Long: `Create a virtual cluster in a host namespace, portico-NAME unless -n says
another, and connect to it.

Run again, it goes on where it was interrupted. If the cluster exists with the
same values, it connects. If it exists with others, it shows the difference and
ends, unless --upgrade is given: then it changes these values and keeps all
others.

-f takes a file of Portico's, see docs/configuration.md, or a vcluster.yaml, which
is converted.`,
		Example: `  portico create my-vcluster
  portico create my-vcluster --connect=false -f values.yaml
  portico create my-vcluster --isolate --set isolation.resourceQuota.quota.count/pods=100
  portico create my-vcluster --upgrade --set coredns.queriesPerSecond=5000`,
		Args: oneName,
		RunE: func(c *cobra.Command, args []string) error { return a.create(c.Context(), args[0], f) },
	}
	flags := c.Flags()
	flags.StringArrayVarP(&f.files, "values", "f", nil, "file with values, or - for standard input; may be repeated, the later wins")
	flags.StringArrayVar(&f.set, "set", nil, "a value, as KEY.KEY=VALUE; may be repeated")
	flags.BoolVar(&f.connect, "connect", f.connect, "connect to the cluster when it serves")
	flags.BoolVar(&f.upgrade, "upgrade", false, "change the cluster if it exists with other values")
	flags.BoolVar(&f.expose, "expose", false, "give the cluster an address of the host's load balancer")
	flags.BoolVar(&f.isolate, "isolate", false, "limit the cluster's resources, connections and Pod Security, see isolation in docs/configuration.md")
	flags.BoolVar(&f.wait, "wait", f.wait, "wait until the cluster serves")
	flags.DurationVar(&f.timeout, "timeout", f.timeout, "how long to wait, at each step")
	flags.StringVar(&f.distro, "distro", "", "accepted for scripts: every cluster serves Kubernetes as upstream makes it")
	flags.StringVar(&f.kubernetes, "kubernetes-version", "", "fail unless this version of Kubernetes is served, as 1.37 or v1.37.2")
	f.enter.register(flags)
	return c
}

func (a *app) create(ctx context.Context, name string, f createFlags) error {
	if err := cluster.CheckName(name); err != nil {
		return err
	}
	if err := f.enter.check(); err != nil {
		return err
	}
	note, err := checkDistro(f.distro, f.kubernetes)
	if err != nil {
		return err
	}
	if note != "" {
		a.streams.Say("%s", note)
	}
	values, err := a.values(f.valueFlags)
	if err != nil {
		return err
	}
	if f.expose {
		put(values, "LoadBalancer", "controlPlane", "service", "type")
	}
	if f.isolate {
		put(values, true, "isolation", "enabled")
	}
	h, err := a.open(a.host, name)
	if err != nil {
		return err
	}
	if h.Inside != nil {
		a.streams.Say("note: the current context leads into the virtual cluster %s, which is the host of %s; %s disconnect leads out", h.Inside.Name, name, a.command)
	}
	namespace, err := a.creationNamespace(ctx, h, name)
	if err != nil {
		return err
	}
	if err := a.apply(ctx, h, namespace, release.Request{Name: name, Values: values, Change: f.upgrade, Timeout: f.timeout}); err != nil {
		return err
	}
	if f.wait || f.connect || f.enter.print {
		if err := a.serves(ctx, h, namespace, name, f.timeout); err != nil {
			return err
		}
	}
	if !f.connect && !f.enter.print {
		a.streams.Say("%s connect %s -n %s leads into it", a.command, name, namespace)
		return nil
	}
	c, err := finder(h).Get(ctx, namespace, name)
	if err != nil {
		return err
	}
	f.enter.timeout = f.timeout
	return a.enter(ctx, h, c, f.enter)
}

// creationNamespace is where a cluster is created: in the given namespace, or
// where one of the name is, or in the default.
func (a *app) creationNamespace(ctx context.Context, h *host.Host, name string) (string, error) {
	if a.namespace != "" {
		return a.namespace, nil
	}
	c, err := finder(h).Find(ctx, "", name)
	switch {
	case errors.Is(err, cluster.ErrNotFound):
		return cluster.Namespace(name), nil
	case err != nil:
		return "", err
	}
	return c.Namespace, nil
}
