// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Cluster is a virtual cluster of one test.
type Cluster struct {
	T           *testing.T
	Name        string
	Namespace   string   // on the host
	Dir         string   // data and configuration
	Environment []string // added to the environment of porticod
	Process     *Process
	Config      *rest.Config // of the tenant's administrator
	Virtual     kubernetes.Interface
	Host        kubernetes.Interface // as the host's administrator
}

// NewCluster starts a virtual cluster on the shared host, in a host namespace of
// its own. Both are gone when the test ends.
func NewCluster(t *testing.T) *Cluster {
	t.Helper()
	return NewClusterOn(t, SharedHost(t))
}

// NewClusterOn starts a virtual cluster on a host.
func NewClusterOn(t *testing.T, h *Host) *Cluster {
	t.Helper()
	return NewClusterWith(t, h, "")
}

// NewClusterWith starts a virtual cluster with further lines of configuration.
func NewClusterWith(t *testing.T, h *Host, more string) *Cluster {
	t.Helper()
	ns, err := h.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "vc-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("create host namespace: %v", err)
	}
	return NewClusterIn(t, h, ns.Name, t.TempDir(), more)
}

// NewClusterIn starts a virtual cluster in a host namespace that is there
// already, on a data directory that may have a store.
func NewClusterIn(t *testing.T, h *Host, namespace, dir, more string) *Cluster {
	t.Helper()
	c := &Cluster{T: t, Name: "c1", Namespace: namespace, Dir: dir, Host: h.Client}
	config := fmt.Sprintf("name: %s\nhost:\n  kubeconfig: %s\n  namespace: %s\ndataDir: %s\nlisten: 127.0.0.1:0\n%s",
		c.Name, h.KubeconfigPath(), c.Namespace, c.Dir, more)
	if err := os.WriteFile(c.ConfigPath(), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.Process != nil {
			if err := c.Process.End(syscall.SIGTERM); err != nil {
				t.Errorf("porticod did not shut down cleanly: %v\n%s", err, c.Process.Tail())
			}
		}
		// Not bound to the test's context, which has ended by now.
		if err := h.Client.CoreV1().Namespaces().Delete(context.Background(), c.Namespace, metav1.DeleteOptions{}); err != nil {
			t.Errorf("delete host namespace: %v", err)
		}
	})
	c.Start()
	return c
}

// AsHost is the cluster as a host of others, which know nothing of its own host.
func (c *Cluster) AsHost() *Host {
	return &Host{Process: c.Process, Config: c.Config, Client: c.Virtual, dir: c.Dir}
}

// ConfigPath is the configuration file of porticod.
func (c *Cluster) ConfigPath() string { return filepath.Join(c.Dir, "portico.yaml") }

// KubeconfigPath is the file with the credential of the tenant's administrator.
func (c *Cluster) KubeconfigPath() string { return filepath.Join(c.Dir, "kubeconfig.yaml") }

// Start runs porticod and waits until it is ready. It serves on another port
// after each start.
func (c *Cluster) Start() {
	c.T.Helper()
	_ = os.Remove(c.KubeconfigPath())
	var err error
	if c.Process, err = Start(c.Dir, "serve", c.Environment, "serve", "--config", c.ConfigPath()); err != nil {
		c.T.Fatal(err)
	}
	if c.Config, err = c.Process.Kubeconfig(c.KubeconfigPath()); err != nil {
		c.T.Fatalf("start porticod: %v", err)
	}
	c.Config.QPS = -1
	if c.Virtual, err = kubernetes.NewForConfig(c.Config); err != nil {
		c.T.Fatal(err)
	}
}

// Kill ends porticod with no chance to clean up.
func (c *Cluster) Kill() {
	c.T.Helper()
	var exit *exec.ExitError
	if err := c.Process.End(syscall.SIGKILL); err != nil && !errors.As(err, &exit) {
		c.T.Fatal(err)
	}
	c.Process = nil
}

// HostName is the plain form of a host name (short names without "-x-").
func (c *Cluster) HostName(namespace, name string) string {
	return name + "-x-" + namespace + "-x-" + c.Name
}

// Eventually waits until the condition holds, and fails with the state that it
// returned last.
func Eventually(t *testing.T, what string, holds func(ctx context.Context) (bool, string)) {
	t.Helper()
	var last string
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, Patience, true, func(ctx context.Context) (bool, error) {
		ok, state := holds(ctx)
		last = state
		return ok, nil
	})
	if err != nil {
		t.Fatalf("%s: %v; last seen: %s", what, err, last)
	}
}
