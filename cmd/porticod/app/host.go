// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/cmd/porticod/simulate"
	"portico.dev/portico/proxy/tracing"
	"portico.dev/portico/store/sqlite"
	"portico.dev/portico/sync/controllers"
)

// hostOptions are the flags of porticod host.
type hostOptions struct {
	dataDir string
	listen  string
	nodes   int
}

func newHost() *cobra.Command {
	o := hostOptions{listen: "127.0.0.1:0", nodes: 2}
	c := &cobra.Command{
		Use:   "host",
		Short: "Run an embedded host cluster with simulated nodes, for demos and tests",
		Long: `Run an embedded host cluster: the same API server and store as a virtual
cluster has, with all kinds in its own store, a scheduler, and simulated nodes
on which pods become Running without a container. It is for demos and tests.

The kubeconfig of its administrator is written to DATA-DIR/kubeconfig.yaml when
the cluster is ready.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runHost(c.Context(), o) },
	}
	c.Flags().StringVar(&o.dataDir, "data-dir", o.dataDir, "where the store, certificates and kubeconfig are kept (required)")
	c.Flags().StringVar(&o.listen, "listen", o.listen, "loopback address and port to serve on; port 0 chooses one")
	c.Flags().IntVar(&o.nodes, "nodes", o.nodes, "number of simulated nodes")
	return c
}

func runHost(ctx context.Context, o hostOptions) error {
	if o.dataDir == "" {
		return &usageError{withHint(fmt.Errorf("--data-dir is not set"), "porticod host --data-dir /tmp/portico-host")}
	}
	dir, err := filepath.Abs(o.dataDir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", o.listen, err)
	}
	// The server closes it, or the end of the process does. A server that could
	// not end in time must keep it: upstream's panics when it is taken away.

	traces, err := tracing.New(ctx, tracing.Config{Service: "portico-host", Environment: os.LookupEnv})
	if err != nil {
		return err
	}
	backend, err := sqliteStore(dir, sqlite.Options{Dir: filepath.Join(dir, storeDir)})(ctx)
	if err != nil {
		return err
	}
	cp, err := newControlPlane(ctx, controlPlaneOptions{
		name:          "host",
		dataDir:       dir,
		backend:       backend,
		clusterDomain: "cluster.local",
		serviceCIDR:   "10.96.0.0/16",
		advertiseIP:   net.IPv4(127, 0, 0, 1),
		// As upstream's API servers: a user of all rights may continue a trace.
		tracing:        atDoor(traces, []string{user.SystemPrivilegedGroup, user.MonitoringGroup}),
		kubeconfigPath: filepath.Join(dir, "kubeconfig.yaml"),
		controllers:    controllers.Config{Mode: controllers.Host, Scheduler: true},
	}, listener)
	if err != nil {
		return errors.Join(err, backend.Close())
	}
	return cp.run(ctx, work{parts: []part{
		{name: "simulated nodes", always: func(ctx context.Context) error {
			return simulate.Run(ctx, cp.server.Loopback(), simulate.Options{Nodes: o.nodes})
		}},
		{name: "storage class", always: func(ctx context.Context) error {
			client, err := kubernetes.NewForConfig(cp.server.Loopback())
			if err != nil {
				return err
			}
			return ensureStorageClass(ctx, client)
		}},
	}})
}

// ensureStorageClass gives the embedded host the class that claims without a
// class get, as an ordinary cluster has one. Nothing provisions its volumes.
func ensureStorageClass(ctx context.Context, client kubernetes.Interface) error {
	binding := storagev1.VolumeBindingWaitForFirstConsumer
	_, err := client.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{
		ObjectMeta:        metav1.ObjectMeta{Name: "standard", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		Provisioner:       "portico.dev/simulated",
		VolumeBindingMode: &binding,
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
