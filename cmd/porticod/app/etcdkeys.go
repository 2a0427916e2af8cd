// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"net"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/certs"
	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/proxy/door"
)

type etcdKeysOptions struct {
	cluster, namespace, dir string
	member                  string
	names                   []string
}

// newEtcdKeys is for init containers of the chart. People have no use for it.
func newEtcdKeys() *cobra.Command {
	var o etcdKeysOptions
	c := &cobra.Command{
		Use:    "etcd-keys",
		Short:  "Write a certificate for a virtual cluster's own etcd",
		Hidden: true,
		Long: `Write ca.crt, tls.crt and tls.key for a member of the etcd that a virtual
cluster has to itself, or for a client of it, signed by the authority in the host
Secret CLUSTER.etcd. The first to need that authority makes it. The certificate is
new each time, and good for a year.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runEtcdKeys(c.Context(), o) },
	}
	c.Flags().StringVar(&o.cluster, "cluster", "", "name of the virtual cluster")
	c.Flags().StringVar(&o.namespace, "namespace", "", "host namespace of the virtual cluster")
	c.Flags().StringVar(&o.dir, "dir", "", "directory to write to")
	c.Flags().StringVar(&o.member, "member", "", "name of the member; empty for a client")
	c.Flags().StringSliceVar(&o.names, "dns-names", nil, "DNS names of the member")
	for _, required := range []string{"cluster", "namespace", "dir"} {
		if err := c.MarkFlagRequired(required); err != nil {
			panic(err)
		}
	}
	return c
}

func runEtcdKeys(ctx context.Context, o etcdKeysOptions) error {
	cfg := config.Default()
	cfg.Name, cfg.Host.Burst = o.cluster, cfg.Host.QPS
	hostConfig, err := hostClientConfig(cfg)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(hostConfig)
	if err != nil {
		return err
	}
	authority, err := door.EnsureEtcdAuthority(ctx, client, o.namespace, o.cluster, func() (certs.EtcdAuthority, error) {
		return certs.NewEtcdAuthority(time.Now)
	})
	if err != nil {
		return err
	}
	leaf := certs.Leaf{CommonName: "porticod", Usage: certs.Client}
	if o.member != "" {
		// Loopback is for the probe, which asks from inside of the pod.
		leaf = certs.Leaf{CommonName: o.member, DNSNames: append([]string{"localhost"}, o.names...), IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Usage: certs.Peer}
	}
	return authority.Install(o.dir, leaf, time.Now)
}
