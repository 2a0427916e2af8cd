// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Host is an embedded host cluster with two simulated nodes.
type Host struct {
	Process *Process
	Config  *rest.Config // of its administrator
	Client  kubernetes.Interface
	Err     error // why it did not start

	once   sync.Once
	dir    string
	listen string
}

// shared is the host of all tests that do not harm it.
var shared = Host{listen: "127.0.0.1:0"}

// create makes the host's directory, if it has none, and starts it.
func (h *Host) create() {
	if h.dir == "" {
		h.dir, h.Err = os.MkdirTemp("", "portico-integration-")
	}
	if h.Err == nil {
		h.Start()
	}
}

// Start starts the host, also one that was ended before, and sets Err.
func (h *Host) Start() {
	if h.Err = os.RemoveAll(h.KubeconfigPath()); h.Err != nil {
		return
	}
	h.Process, h.Err = Start(h.dir, "host", nil, "host", "--data-dir", h.dir, "--listen", h.listen, "--nodes", "2")
	if h.Err != nil {
		return
	}
	if h.Config, h.Err = h.Process.Kubeconfig(h.KubeconfigPath()); h.Err != nil {
		return
	}
	h.Config.QPS = -1
	h.Client, h.Err = kubernetes.NewForConfig(h.Config)
}

// ForeignHost returns a host that runs already and is no porticod. Its kubeconfig is
// kubeconfig.yaml in dir.
func ForeignHost(dir string) (*Host, error) {
	h := &Host{dir: dir}
	var err error
	if h.Config, err = clientcmd.BuildConfigFromFlags("", h.KubeconfigPath()); err != nil {
		return nil, err
	}
	h.Config.QPS = -1
	h.Client, err = kubernetes.NewForConfig(h.Config)
	return h, err
}

// Dir is the host's data directory.
func (h *Host) Dir() string { return h.dir }

// KubeconfigPath is the file with the credential of the host's administrator.
func (h *Host) KubeconfigPath() string { return filepath.Join(h.dir, "kubeconfig.yaml") }

func (h *Host) stop() {
	if h.Process != nil {
		_ = h.Process.End(syscall.SIGTERM)
	}
	if h.dir != "" {
		_ = os.RemoveAll(h.dir)
	}
}

// SharedHost returns the host cluster of the test binary. The first caller
// starts it.
func SharedHost(t *testing.T) *Host {
	t.Helper()
	shared.once.Do(shared.create)
	if shared.Err != nil {
		t.Fatalf("start the embedded host: %v", shared.Err)
	}
	return &shared
}

// PrivateHost returns a host that a test may end and start again, at the same
// address.
func PrivateHost(t *testing.T) *Host {
	t.Helper()
	return PrivateHostIn(t, "")
}

// PrivateHostIn returns a private host on a data directory that is there already,
// which is gone when the test ends.
func PrivateHostIn(t *testing.T, dir string) *Host {
	t.Helper()
	h := &Host{listen: FreePort(t), dir: dir}
	h.create()
	t.Cleanup(h.stop)
	if h.Err != nil {
		t.Fatalf("start an embedded host: %v", h.Err)
	}
	return h
}
