// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// cluster is one porticod and the host namespace that it lives in.
type cluster struct {
	name      string
	namespace string // on the host
	dir       string
	process   *exec.Cmd
	ended     chan error
}

var (
	sharedMu      sync.Mutex
	sharedCluster *cluster
)

// shared returns kubectl in a new virtual namespace of a cluster that all
// tests share, and the cluster.
func shared(t *testing.T) (kubectl, *cluster) {
	t.Helper()
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if sharedCluster == nil {
		dir, err := os.MkdirTemp("", "portico-e2e-") //nolint:usetesting // It outlives the first test that asks for it.
		if err != nil {
			t.Fatal(err)
		}
		c := newCluster(t, "shared", "shared", dir)
		sharedCluster = c
	}
	return sharedCluster.namespaceOf(t), sharedCluster
}

// stopShared ends the cluster of shared, if it was started.
func stopShared() error {
	sharedMu.Lock()
	defer sharedMu.Unlock()
	c := sharedCluster
	if c == nil {
		return nil
	}
	err := c.end(syscall.SIGTERM)
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, c.tail())
	}
	out, deleteErr := exec.Command(lab.kubectl, "--kubeconfig", lab.kubeconfig, "delete", "namespace", c.namespace).CombinedOutput()
	if deleteErr != nil {
		deleteErr = fmt.Errorf("%w: %s", deleteErr, out)
	}
	return errors.Join(err, deleteErr, os.RemoveAll(c.dir))
}

// private starts a cluster that is the test's alone. More lines of its
// configuration may follow; then its account has the ClusterRole as well.
func private(t *testing.T, name, suffix string, more ...string) *cluster {
	t.Helper()
	c := newCluster(t, name, suffix, t.TempDir(), more...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("porticod of %s:\n%s", c.namespace, c.tail())
		}
		if err := c.end(syscall.SIGTERM); err != nil {
			t.Errorf("porticod did not shut down cleanly: %v\n%s", err, c.tail())
		}
		// Not bound to the test's context, which has ended by now.
		if out, err := exec.Command(lab.kubectl, "--kubeconfig", lab.kubeconfig, "delete", "namespace", c.namespace).CombinedOutput(); err != nil {
			t.Errorf("delete host namespace: %v: %s", err, out)
		}
	})
	return c
}

func newCluster(t *testing.T, name, suffix, dir string, more ...string) *cluster {
	t.Helper()
	c := &cluster{name: name, namespace: hostNamespace(suffix), dir: dir}
	newHostNamespace(t, c.namespace, filepath.Join(dir, "host.kubeconfig"))
	if len(more) > 0 {
		grantNodes(t, c.namespace)
	}
	address, err := doorAddress()
	if err != nil {
		t.Fatalf("address for porticod: %v", err)
	}
	if err := writeConfig(dir, name, c.namespace, address, hostDNS(t), more...); err != nil {
		t.Fatal(err)
	}
	if err := c.start(t); err != nil {
		t.Fatalf("start porticod: %v\n%s", err, c.tail())
	}
	return c
}

func (c *cluster) kubeconfig() string { return filepath.Join(c.dir, "data", "kubeconfig.yaml") }
func (c *cluster) logFile() string    { return filepath.Join(c.dir, "porticod.log") }

// start runs porticod and waits until it is ready.
func (c *cluster) start(t *testing.T) error {
	t.Helper()
	if err := os.Remove(c.kubeconfig()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	log, err := os.OpenFile(c.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	// Not bound to the test's context: the shared cluster outlives its first test.
	c.process = exec.Command(lab.porticod, "serve", "--config", filepath.Join(c.dir, "portico.yaml"))
	c.process.Stdout, c.process.Stderr = log, log
	// It must not outlive a test binary that is killed.
	c.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.process.Start(); err != nil {
		return err
	}
	c.ended = make(chan error, 1)
	go func(process *exec.Cmd, ended chan<- error) { ended <- process.Wait() }(c.process, c.ended)
	return c.awaitReady()
}

// awaitReady waits for the kubeconfig, which porticod writes once it is ready.
func (c *cluster) awaitReady() error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for {
		select {
		case err := <-c.ended:
			c.ended <- err
			return fmt.Errorf("porticod ended: %w", err)
		case <-timeout:
			return fmt.Errorf("porticod is not ready after %v", patience)
		case <-tick.C:
			if _, err := os.Stat(c.kubeconfig()); err == nil {
				return nil
			}
		}
	}
}

// end sends a signal and waits for the end. Dying of SIGKILL is no error.
func (c *cluster) end(s syscall.Signal) error {
	if c.process == nil || c.process.Process == nil {
		return nil
	}
	if err := c.process.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-c.ended:
		c.process = nil
		var exit *exec.ExitError
		if s == syscall.SIGKILL && errors.As(err, &exit) {
			return nil
		}
		return err
	case <-time.After(patience):
		return fmt.Errorf("porticod is still there %v after %v", patience, s)
	}
}

// tail is the end of porticod's log.
func (c *cluster) tail() string {
	b, err := os.ReadFile(c.logFile())
	if err != nil {
		return err.Error()
	}
	const most = 8 << 10
	if len(b) > most {
		b = b[len(b)-most:]
	}
	return string(bytes.TrimSpace(b))
}

// namespaceOf makes a virtual namespace named for the test.
func (c *cluster) namespaceOf(t *testing.T) kubectl {
	t.Helper()
	name := strings.ToLower(strings.TrimPrefix(t.Name(), "Test"))
	if len(name) > 30 {
		name = strings.TrimRight(name[:30], "-")
	}
	k := kubectl{t: t, kubeconfig: c.kubeconfig(), namespace: name}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("porticod:\n%s", c.tail())
			c.describe(t, name)
		}
	})
	k.run("create", "namespace", name)
	// Upstream's controllers make it a moment later, and pods need it.
	eventually(t, "default service account", func() (bool, string) {
		r := k.try("", "get", "serviceaccount", "default")
		return r.err == nil, r.stderr
	})
	return k
}

// describe logs the objects of a virtual namespace on both sides.
func (c *cluster) describe(t *testing.T, namespace string) {
	t.Helper()
	for _, args := range [][]string{
		{"--kubeconfig", c.kubeconfig(), "--namespace", namespace, "get", "all,pvc,events", "-o", "wide"},
		{"--kubeconfig", lab.kubeconfig, "--namespace", c.namespace, "get", "pods,services,pvc,events", "-o", "wide"},
	} {
		// Not bound to the test's context, which has ended by now.
		out, err := exec.Command(lab.kubectl, args...).CombinedOutput()
		t.Logf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// host is the host's administrator in the cluster's host namespace.
func (c *cluster) host(t *testing.T) kubectl { return admin(t, c.namespace) }

// hostName is the plain form of a host name: short, without "-x-" in its parts.
func (c *cluster) hostName(namespace, name string) string {
	return name + "-x-" + namespace + "-x-" + c.name
}

// secondProcess runs porticod on the data of one that runs, on a port of its
// own, until it ends.
func (c *cluster) secondProcess(t *testing.T) (string, error) {
	t.Helper()
	second := exec.CommandContext(t.Context(), lab.porticod, "serve", "--config", filepath.Join(c.dir, "portico.yaml"),
		"--listen", "127.0.0.1:0", "--kubeconfig-path", filepath.Join(t.TempDir(), "kubeconfig.yaml"))
	out, err := second.CombinedOutput()
	return string(out), err
}
