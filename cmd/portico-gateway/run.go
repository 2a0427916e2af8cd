// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/proxy/gateway"
)

// addresses are where a gateway listens, for tests that let it choose.
type addresses struct {
	clients, health net.Addr
	listening       chan struct{} // closed when they are known
}

// run serves until ctx is done and the connections of clients have ended.
func run(ctx context.Context, args []string, test *addresses) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return fmt.Errorf("find the host: %w", err)
	}
	config.UserAgent = "portico-gateway"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("client for the host: %w", err)
	}
	directory := gateway.NewDirectory(client, o.namespaces...)
	settings := gateway.Options{Doors: directory, Domains: o.domains, Plain: o.plain, Limits: o.limits, Timeouts: o.timeouts}
	settings.ProxyToDoors = o.proxyToDoors
	for _, p := range o.proxyFrom {
		settings.ProxyFrom = append(settings.ProxyFrom, netip.MustParsePrefix(p)) // validated
	}
	watch, synced := directory.Run, directory.Synced
	if o.wake {
		workloads := gateway.NewWorkloads(client, nil, o.timeouts.Wake, o.namespaces...)
		settings.Waker = workloads
		watch = func(ctx context.Context) {
			var watches sync.WaitGroup
			watches.Go(func() { workloads.Run(ctx) })
			watches.Go(func() { directory.Run(ctx) })
			watches.Wait()
		}
		synced = func() bool { return directory.Synced() && workloads.Synced() }
	}
	if o.connect {
		settings.Reviewer = gateway.NewTokens(client.AuthenticationV1().TokenReviews(), nil)
	}
	if o.certFile != "" {
		cert, err := newCertificate(o.certFile, o.keyFile, clock.RealClock{})
		if err != nil {
			return err
		}
		settings.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cert.get}
	}
	clients, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fmt.Errorf("listen for clients: %w", err)
	}
	defer clients.Close() //nolint:errcheck // The process ends.
	probes, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.healthListen)
	if err != nil {
		return fmt.Errorf("listen for probes: %w", err)
	}
	if test != nil {
		test.clients, test.health = clients.Addr(), probes.Addr()
		close(test.listening)
	}
	// Connections go on for a while when ctx is done, and so do probes and the
	// watch.
	after, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	watched := make(chan struct{})
	go func() { defer close(watched); watch(after) }()
	health := newHealth(func() bool { return ctx.Err() == nil && synced() })
	go func() { _ = health.Serve(probes) }()
	klog.FromContext(ctx).Info("Began to lead clients", "listen", clients.Addr().String(), "domains", o.domains, "namespaces", o.namespaces, "connect", o.connect, "wake", o.wake)
	err = serve(ctx, gateway.New(settings), clients, o)
	cancel()
	<-watched
	return errors.Join(err, health.Close())
}

// serve accepts clients until ctx is done, and lets them end in peace.
func serve(ctx context.Context, g *gateway.Gateway, clients net.Listener, o options) error {
	err := g.Serve(ctx, clients)
	klog.FromContext(ctx).Info("Accepts no more clients", "open", g.Open(), "drain", o.drain)
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.drain)
	defer cancel()
	if cut := g.Shutdown(limit); cut != nil {
		klog.FromContext(ctx).Info("Ended with open connections", "reason", cut)
	}
	return err
}
