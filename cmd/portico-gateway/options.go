// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"portico.dev/portico/proxy/gateway"
)

// options are the flags. docs/gateway.md explains them.
type options struct {
	listen, healthListen string
	kubeconfig           string
	domains, namespaces  []string

	wake              bool
	connect           bool
	certFile, keyFile string
	plain             bool

	proxyFrom    []string
	proxyToDoors bool

	limits   gateway.Limits
	timeouts gateway.Timeouts
	drain    time.Duration
}

func parse(args []string) (options, error) {
	o := options{limits: gateway.DefaultLimits, timeouts: gateway.DefaultTimeouts}
	f := pflag.NewFlagSet("portico-gateway", pflag.ContinueOnError)
	f.StringVar(&o.listen, "listen", ":8443", "address of clients")
	f.StringVar(&o.healthListen, "health-listen", ":8081", "address of /healthz, /readyz and /metrics")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "way to the host; the pod's own ServiceAccount without")
	f.StringSliceVar(&o.domains, "domain", nil, "suffixes of cluster names, besides svc")
	f.StringSliceVar(&o.namespaces, "namespace", nil, "host namespaces with clusters; all without")
	f.BoolVar(&o.wake, "wake", false, "wake clusters that sleep, for clients and for their own work")
	f.DurationVar(&o.timeouts.Wake, "wake-timeout", o.timeouts.Wake, "how long clients wait for a cluster that wakes")
	f.BoolVar(&o.connect, "connect", false, "take CONNECT requests with a token")
	f.StringVar(&o.certFile, "tls-cert-file", "", "the gateway's own certificate, for CONNECT")
	f.StringVar(&o.keyFile, "tls-key-file", "", "its key")
	f.BoolVar(&o.plain, "connect-without-tls", false, "take CONNECT requests over plain HTTP, too, which shows tokens to the network")
	f.StringSliceVar(&o.proxyFrom, "proxy-protocol-from", nil, "networks of load balancers that say who the client is, in CIDR notation")
	f.BoolVar(&o.proxyToDoors, "proxy-protocol-to-doors", false, "tell the doors of clusters who the client is; all need proxyProtocol.from")
	f.IntVar(&o.limits.Connections, "max-connections", o.limits.Connections, "connections that may be open")
	f.IntVar(&o.limits.PerClient, "max-connections-per-client", o.limits.PerClient, "of one IPv4 address or IPv6 /64")
	f.IntVar(&o.limits.PerCluster, "max-connections-per-cluster", o.limits.PerCluster, "to one virtual cluster")
	f.DurationVar(&o.timeouts.Idle, "idle-timeout", o.timeouts.Idle, "silence in both directions that ends a connection")
	f.DurationVar(&o.drain, "drain", time.Minute, "how long open connections may go on after SIGTERM")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return o, o.validate()
}

func (o options) validate() error {
	var errs []error
	if (o.certFile == "") != (o.keyFile == "") {
		errs = append(errs, errors.New("--tls-cert-file and --tls-key-file go together"))
	}
	if !o.connect && (o.certFile != "" || o.plain) {
		errs = append(errs, errors.New("--tls-cert-file and --connect-without-tls are for --connect"))
	}
	if o.connect && o.certFile == "" && !o.plain {
		errs = append(errs, errors.New("--connect needs --tls-cert-file, or --connect-without-tls"))
	}
	for _, d := range o.domains {
		if len(validation.IsDNS1123Subdomain(d)) > 0 {
			errs = append(errs, fmt.Errorf("--domain %q is not a DNS name", d))
		}
	}
	for _, p := range o.proxyFrom {
		if _, err := netip.ParsePrefix(p); err != nil {
			errs = append(errs, fmt.Errorf("--proxy-protocol-from: %w", err))
		}
	}
	for _, ns := range o.namespaces {
		if len(validation.IsDNS1123Label(ns)) > 0 {
			errs = append(errs, fmt.Errorf("--namespace %q is not the name of a namespace", ns))
		}
	}
	if o.limits.Connections < 1 || o.limits.PerClient < 1 || o.limits.PerCluster < 1 {
		errs = append(errs, errors.New("limits of connections are at least 1"))
	}
	if o.timeouts.Idle < time.Minute || o.drain < 0 {
		errs = append(errs, errors.New("--idle-timeout is at least 1m, and --drain at least 0"))
	}
	if o.timeouts.Wake < time.Second {
		errs = append(errs, errors.New("--wake-timeout is at least 1s"))
	}
	return errors.Join(errs...)
}
