// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"portico.dev/portico/cmd/portico/internal/access"
	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/forward"
	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/kubeconfig"
	"portico.dev/portico/cmd/portico/internal/output"
	"portico.dev/portico/cmd/portico/internal/wait"
)

// way is how a cluster is reached for the length of one command.
type way struct {
	address access.Address
	// forwarded says that the address is a port of this machine; served that
	// this process forwards it, and not one in the background.
	forwarded, served bool
	closed            chan error // when served
}

// enter leads into a cluster that serves, in the way that the flags say.
func (a *app) enter(ctx context.Context, h *host.Host, c *cluster.Cluster, f enterFlags) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w, err := a.way(ctx, h, c, f)
	if err != nil {
		return err
	}
	e, err := a.entry(ctx, h, c, f, w)
	if err != nil {
		return err
	}
	switch {
	case len(f.command) > 0:
		return a.runCommand(ctx, e, f.command)
	case f.print:
		return a.printEntry(e, w)
	case !f.updateCurrent:
		return a.writeEntry(e, f.kubeConfig)
	}
	name, err := kubeconfig.Put(h.Kubeconfig, e)
	if err != nil {
		return err
	}
	if !w.served {
		a.streams.Say("the current context is %s; %s disconnect goes back", name, a.command)
		return nil
	}
	a.streams.Say("the current context is %s, for as long as this runs; Ctrl-C goes back", name)
	select {
	case <-ctx.Done():
	case err = <-w.closed:
	}
	next, left := kubeconfig.Leave(h.Kubeconfig, name, true)
	if left == nil {
		a.streams.Say("\n%s", current(next))
	}
	return errors.Join(err, left)
}

// way finds or makes an address.
func (a *app) way(ctx context.Context, h *host.Host, c *cluster.Cluster, f enterFlags) (way, error) {
	if f.server != "" {
		return way{address: access.Address{URL: f.server}}, nil
	}
	if f.proxy {
		address, err := access.ThroughProxy(ctx, h.Client, c.Namespace, c.Name, access.Proxy{NoWake: f.noWake, Life: time.Duration(f.proxyExpiration) * time.Second})
		if errors.Is(err, access.ErrNoProxy) {
			err = output.WithHint(fmt.Errorf("virtual cluster %s: %w", c.Name, err), "set address, connect.enabled, connect.tlsSecret and connect.caBundle in charts/portico-gateway, or leave --proxy out")
		}
		return way{address: address}, err
	}
	if f.localPort == 0 {
		address, err := a.address(ctx, h, c, f.timeout)
		if err != nil || address.URL != "" {
			return way{address: address}, err
		}
	}
	w := way{forwarded: true}
	port := 0
	if len(f.command) > 0 || a.streams.Terminal && !f.background && !f.print && f.updateCurrent {
		l, err := forward.Listen(ctx, f.localPort, forward.PodPort, forward.ToPod(h.REST, h.Client, c.Namespace, c.Name), a.streams.Say)
		if err != nil {
			return way{}, output.WithHint(err, "--local-port chooses another port")
		}
		w.served, w.closed, port = true, make(chan error, 1), l.Port()
		go func() { w.closed <- l.Serve(ctx) }()
	} else {
		b, err := a.backgroundOf(h, c)
		if err != nil {
			return way{}, err
		}
		program, err := a.executable()
		if err != nil {
			return way{}, fmt.Errorf("start a background forward: %w", err)
		}
		if port, err = b.Start(ctx, program, f.localPort, a.streams.Say); err != nil {
			return way{}, err
		}
	}
	w.address.URL = fmt.Sprintf("https://127.0.0.1:%d", port)
	return w, nil
}

// address waits for an address of the host's making.
func (a *app) address(ctx context.Context, h *host.Host, c *cluster.Cluster, limit time.Duration) (found access.Address, err error) {
	pending := ""
	err = wait.Until(ctx, wait.Options{
		For: "an address of " + c.Name, Limit: limit, Flag: "--local-port forwards a port instead; --timeout", Say: a.streams.Say,
		Why: func(context.Context) string { return pending },
	}, func(ctx context.Context) (bool, error) {
		found, pending, err = access.Find(ctx, h.Client, c.Namespace, c.Name)
		return pending == "", err
	})
	return found, err
}

func (a *app) backgroundOf(h *host.Host, c *cluster.Cluster) (forward.Background, error) {
	dir, err := a.background()
	if err != nil {
		return forward.Background{}, err
	}
	return forward.Background{Dir: dir, Spec: forward.Spec{
		Name: c.Name, Namespace: c.Namespace, Kubeconfig: a.host.Kubeconfig, HostContext: h.Context, Host: h.REST.Host,
	}}, nil
}

// entry makes the kubeconfig entry and waits until it works.
func (a *app) entry(ctx context.Context, h *host.Host, c *cluster.Cluster, f enterFlags, w way) (kubeconfig.Entry, error) {
	credentials, _, err := access.Administrator(ctx, h.Client, c.Namespace, c.Name)
	if err != nil {
		return kubeconfig.Entry{}, err
	}
	e := kubeconfig.Entry{
		Origin:  kubeconfig.Origin{Name: c.Name, Namespace: c.Namespace, HostContext: h.Context, Forwarded: w.forwarded},
		Context: f.contextName, Server: w.address.URL, ServerName: w.address.ServerName, ProxyURL: w.address.Proxy,
		Insecure: f.insecure, CA: authorities(credentials.CA, w.address.ProxyCA), Cert: credentials.Cert, Key: credentials.Key,
	}
	virtual, err := access.Client(e)
	if err != nil {
		return e, err
	}
	var why error
	err = wait.Until(ctx, wait.Options{
		For: "the API of " + c.Name + " to answer at " + e.Server, Limit: f.timeout, Flag: "--timeout", Say: a.streams.Say,
		Why: func(context.Context) string {
			if why == nil {
				return ""
			}
			return why.Error()
		},
	}, func(ctx context.Context) (ready bool, _ error) {
		ready, why = access.Ready(ctx, virtual)
		return ready, nil
	})
	if err != nil || f.serviceAccount == "" {
		return e, err
	}
	e.Token, err = access.Token(ctx, virtual, access.ServiceAccount{
		Name: f.serviceAccount, ClusterRole: f.clusterRole, Life: time.Duration(f.tokenExpiration) * time.Second,
	})
	e.Cert, e.Key = nil, nil
	return e, err
}

// authorities returns those of a cluster, and behind them those of the way to it:
// a client has one list for both.
func authorities(cluster, way []byte) []byte {
	if len(way) == 0 {
		return cluster
	}
	return append(append(bytes.TrimRight(cluster, "\n"), '\n'), way...)
}

func (a *app) printEntry(e kubeconfig.Entry, w way) error {
	content, err := e.YAML()
	if err != nil {
		return err
	}
	if w.forwarded {
		a.streams.Say("the port is forwarded in the background until %s disconnect %s", a.command, e.Origin.Name)
	}
	_, err = a.streams.Out.Write(content)
	return err
}

// writeEntry writes a kubeconfig file of its own. A file with anything else in
// it is not touched.
func (a *app) writeEntry(e kubeconfig.Entry, path string) error {
	file := kubeconfig.Locate(path)
	there, err := clientcmd.LoadFromFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if err == nil {
		for name := range there.Contexts {
			if o, ours := kubeconfig.OriginOf(there, name); !ours || !o.Same(e.Origin) {
				return output.WithHint(fmt.Errorf("%s exists, and has more in it than this cluster", path), "name another file with --kube-config")
			}
		}
	}
	if _, err := kubeconfig.Put(file, e); err != nil {
		return err
	}
	a.streams.Say("wrote %s", path)
	return nil
}

// current says which context is the current one.
func current(context string) string {
	if context == "" {
		return "no context is current now: none of those before is there any more"
	}
	return "the current context is " + context
}
