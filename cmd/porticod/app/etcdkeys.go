// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"net"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"portico.dev/portico/certs"
	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/cmd/porticod/pki"
	"portico.dev/portico/proxy/door"
)

// newEtcdKeys is for an init container of the chart. People have no use for it.
func newEtcdKeys() *cobra.Command {
	k := etcdKeys{clock: clock.RealClock{}}
	c := &cobra.Command{
		Use:    "etcd-keys",
		Short:  "Make the certificates of a virtual cluster's own etcd",
		Hidden: true,
		Long: `Write ca.crt, tls.crt and tls.key for a client of the etcd that a virtual cluster
has to itself, and those for its members to the host Secret CLUSTER.etcd-members.
The authority is in the host Secret CLUSTER.etcd, and the first to need it makes
it. Files that are good stay; porticod serve keeps them so.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg := config.Default()
			cfg.Name, cfg.Host.Burst = k.cluster, cfg.Host.QPS
			hostConfig, err := hostClientConfig(cfg)
			if err != nil {
				return err
			}
			if k.client, err = kubernetes.NewForConfig(hostConfig); err != nil {
				return err
			}
			return k.ensure(c.Context())
		},
	}
	c.Flags().StringVar(&k.cluster, "cluster", "", "name of the virtual cluster")
	c.Flags().StringVar(&k.namespace, "namespace", "", "host namespace of the virtual cluster")
	c.Flags().StringVar(&k.dir, "dir", "", "directory to write to")
	c.Flags().StringSliceVar(&k.members, "members", nil, "DNS names of the members")
	for _, required := range []string{"cluster", "namespace", "dir", "members"} {
		if err := c.MarkFlagRequired(required); err != nil {
			panic(err)
		}
	}
	return c
}

// etcdKeys keeps the certificates of an etcd that a cluster has to itself.
type etcdKeys struct {
	client             kubernetes.Interface
	cluster, namespace string
	dir                string   // of a client's files
	members            []string // their DNS names
	clock              clock.WithTicker
}

// ensure makes everything that is missing or due.
func (k *etcdKeys) ensure(ctx context.Context) error {
	authority, err := door.EnsureEtcdAuthority(ctx, k.client, k.namespace, k.cluster, func() (certs.EtcdAuthority, error) {
		return certs.NewEtcdAuthority(k.clock.Now)
	})
	if err != nil {
		return err
	}
	err = door.EnsureEtcdMembers(ctx, k.client, k.namespace, k.cluster, func(have map[string][]byte) (map[string][]byte, error) {
		return authority.Renew(have, certs.Leaf{CommonName: k.cluster + "-etcd", DNSNames: k.members, Usage: certs.Peer}, k.clock.Now)
	})
	if err != nil {
		return err
	}
	return authority.Install(k.dir, certs.Leaf{CommonName: "porticod", Usage: certs.Client}, k.clock.Now)
}

// run keeps the certificates until ctx ends.
func (k *etcdKeys) run(ctx context.Context) error {
	rounds := pki.Rounds{Clock: k.clock, Name: "etcd", Retry: time.Minute}
	return rounds.Run(ctx, func(ctx context.Context) (time.Duration, error) { return pki.Look, k.ensure(ctx) })
}

// etcdPart keeps the certificates of the chart's etcd. An etcd belongs to the
// cluster if the authority of its certificates is on the host; the owner of any
// other renews them. Every replica has files of its own.
func (c *composition) etcdPart() (part, error) {
	s := c.config.Store
	if s.Endpoint == "" || s.TLS.CertFile == "" {
		return part{}, nil
	}
	endpoint, err := s.Parse()
	if err != nil || endpoint.Kind != config.StoreEtcd {
		return part{}, err
	}
	k := &etcdKeys{
		client: c.hostClient, cluster: c.config.Name, namespace: c.config.Host.Namespace, dir: filepath.Dir(s.TLS.CertFile), clock: clock.RealClock{},
	}
	for _, address := range endpoint.Addresses {
		name, _, err := net.SplitHostPort(address)
		if err != nil {
			return part{}, err
		}
		k.members = append(k.members, name)
	}
	return part{always: func(ctx context.Context) error {
		_, err := k.client.CoreV1().Secrets(k.namespace).Get(ctx, door.EtcdSecretName(k.cluster), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return k.run(ctx)
	}}, nil
}
