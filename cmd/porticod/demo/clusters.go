// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"portico.dev/portico/cmd/porticod/child"
)

const (
	// ClusterName is the virtual cluster's, and namespacePrefix begins its
	// namespace on the host.
	ClusterName     = "my-vcluster"
	namespacePrefix = "portico-"

	// defaultNodes is how many simulated nodes the host has.
	defaultNodes = 2

	// grace is how long a child has to end after it was asked to.
	grace = 30 * time.Second
)

// ClusterOptions configures the clusters that Start starts.
type ClusterOptions struct {
	// Dir takes the data, logs and kubeconfigs of both clusters.
	Dir string
	// Executable is the porticod to run; the running program if empty.
	Executable string
	// Nodes is how many simulated nodes the host has; two if 0.
	Nodes int
	// Config has keys of the virtual cluster's configuration besides those that
	// lead it to its host.
	Config map[string]any
	// Step, if set, is called around each thing that takes time.
	Step func(what string, do func() error) error
}

// Cluster is one running cluster.
type Cluster struct {
	// Kubeconfig is a file that gives all rights in the cluster.
	Kubeconfig string

	config  *rest.Config
	process *child.Process
}

// Client returns a client that is limited by the server alone.
func (c *Cluster) Client() (kubernetes.Interface, error) {
	cfg := rest.CopyConfig(c.config)
	cfg.QPS = -1
	return kubernetes.NewForConfig(cfg)
}

// Authorities are those of the cluster's serving certificates.
func (c *Cluster) Authorities() (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(c.config.CAData) {
		return nil, fmt.Errorf("kubeconfig %s has no authority", c.Kubeconfig)
	}
	return pool, nil
}

// PID is the process id of the cluster's porticod.
func (c *Cluster) PID() int { return c.process.PID() }

// Clusters are a host cluster and a virtual one in it.
type Clusters struct {
	Host, Virtual Cluster
	// Name is the virtual cluster's, Namespace the one on the host it lives in.
	Name, Namespace string

	options ClusterOptions
}

// Start starts both clusters and returns when both answer. If a step fails, it
// ends the clusters that it has started.
func Start(ctx context.Context, o ClusterOptions) (*Clusters, error) {
	if o.Step == nil {
		o.Step = func(_ string, do func() error) error { return do() }
	}
	if o.Nodes == 0 {
		o.Nodes = defaultNodes
	}
	if o.Executable == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
		o.Executable = self
	}
	c := &Clusters{Name: ClusterName, Namespace: namespacePrefix + ClusterName, options: o}
	for i, step := range []struct {
		what string
		do   func() error
	}{
		{fmt.Sprintf("Starting a host cluster with %d simulated nodes", o.Nodes), func() error { return c.startHost(ctx) }},
		{"Creating host namespace " + c.Namespace, func() error { return c.createNamespace(ctx) }},
		{"Starting virtual cluster " + c.Name + " in it", func() error { return c.StartVirtual(ctx) }},
	} {
		if err := o.Step(step.what, step.do); err != nil {
			if i > 0 {
				err = errors.Join(c.Host.ended(), err)
			}
			return nil, errors.Join(err, c.Stop())
		}
	}
	return c, nil
}

func (c *Clusters) startHost(ctx context.Context) error {
	dir := filepath.Join(c.options.Dir, "host")
	return c.start(ctx, &c.Host, child.Spec{
		Name: "host cluster",
		Args: []string{"host", "--data-dir", dir, "--listen", "127.0.0.1:0", "--nodes", strconv.Itoa(c.options.Nodes)},
		Log:  filepath.Join(c.options.Dir, "host.log"),
	}, filepath.Join(dir, "kubeconfig.yaml"))
}

func (c *Clusters) createNamespace(ctx context.Context) error {
	client, err := c.Host.Client()
	if err != nil {
		return err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.Namespace}}
	_, err = client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create host namespace %q: %w", c.Namespace, err)
	}
	return nil
}

// StartVirtual starts the virtual cluster, which must not be running. Its
// address is another one after each start.
func (c *Clusters) StartVirtual(ctx context.Context) error {
	dir := c.virtualDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make data directory of %q: %w", c.Name, err)
	}
	file := filepath.Join(c.options.Dir, "portico.yaml")
	config := map[string]any{}
	maps.Copy(config, c.options.Config)
	maps.Copy(config, map[string]any{
		"name":    c.Name,
		"dataDir": dir,
		"listen":  "127.0.0.1:0",
		"host": map[string]any{
			"kubeconfig": c.Host.Kubeconfig,
			"namespace":  c.Namespace,
		},
	})
	text, err := yaml.Marshal(config)
	if err != nil {
		return fmt.Errorf("write configuration of %q: %w", c.Name, err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return fmt.Errorf("write configuration of %q: %w", c.Name, err)
	}
	return c.start(ctx, &c.Virtual, child.Spec{
		Name: "virtual cluster " + c.Name,
		Args: []string{"serve", "--config", file},
		Log:  filepath.Join(c.options.Dir, c.Name+".log"),
	}, filepath.Join(dir, "kubeconfig.yaml"))
}

// start starts a child and waits until its cluster answers.
func (c *Clusters) start(ctx context.Context, cluster *Cluster, spec child.Spec, kubeconfig string) error {
	// A file of an earlier run would look as if the cluster were ready.
	if err := os.RemoveAll(kubeconfig); err != nil {
		return fmt.Errorf("remove old kubeconfig: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not within %s", patience))
	defer cancel()
	spec.Executable = c.options.Executable
	process, err := child.Start(spec)
	if err != nil {
		return err
	}
	cluster.process, cluster.Kubeconfig = process, kubeconfig
	cluster.config, err = process.AwaitCluster(ctx, kubeconfig)
	return err
}

// ended returns an error with the child's log if it has ended by itself: the
// likely reason when something that talked to it failed.
func (c *Cluster) ended() error {
	if c.process == nil {
		return nil
	}
	select {
	case <-c.process.Ended():
		return c.process.Err()
	default:
		return nil
	}
}

// StopVirtual ends the virtual cluster if it runs.
func (c *Clusters) StopVirtual() error { return c.Virtual.stop() }

// ResetVirtual removes all data of the virtual cluster, which must not be
// running. Its objects on the host stay there.
func (c *Clusters) ResetVirtual() error { return os.RemoveAll(c.virtualDir()) }

func (c *Clusters) virtualDir() string { return filepath.Join(c.options.Dir, c.Name) }

// Stop ends both clusters, the virtual one first: it still sends requests to
// its host.
func (c *Clusters) Stop() error { return errors.Join(c.Virtual.stop(), c.Host.stop()) }

func (c *Cluster) stop() error {
	if c.process == nil {
		return nil
	}
	process := c.process
	c.process = nil
	select {
	case <-process.Ended():
		return nil // the caller that waited for it reported the failure
	default:
		return process.Stop(grace)
	}
}
