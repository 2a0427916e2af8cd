// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"portico.dev/portico/cmd/porticod/app"
)

// childEnv makes this test binary behave as porticod.
const childEnv = "PORTICO_TEST_AS_PORTICOD"

// patience bounds every wait. It is far above what a busy two-core machine
// needs; a test that gets here has failed.
const patience = 90 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := app.Main(ctx, app.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[1:])
		stop()
		os.Exit(code)
	}
	code := m.Run()
	shared.stop()
	os.Exit(code)
}

// process is a porticod that runs as a child of the test.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when the child has ended
	err  error         // how it ended; read after done
}

func start(dir, name string, args ...string) (*process, error) {
	p := &process{log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close() // The child has its own descriptor.
	p.cmd = exec.Command(os.Args[0], args...)
	p.cmd.Env = append(os.Environ(), childEnv+"=1")
	p.cmd.Stdout, p.cmd.Stderr = out, out
	// A test binary that dies must not leave its children behind.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// end signals the child and waits for it.
func (p *process) end(sig syscall.Signal) error {
	_ = p.cmd.Process.Signal(sig) // It may have ended by itself.
	select {
	case <-p.done:
		return p.err
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("did not end within %v of %v", patience, sig)
	}
}

// said reports whether the child's log has a text.
func (p *process) said(text string) bool {
	b, err := os.ReadFile(p.log)
	return err == nil && strings.Contains(string(b), text)
}

// tail returns the end of the child's log, for failure messages.
func (p *process) tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// kubeconfig waits until the child has written its kubeconfig, which it does
// when it is ready.
func (p *process) kubeconfig(path string) (*rest.Config, error) {
	err := wait.PollUntilContextTimeout(context.Background(), 50*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		select {
		case <-p.done:
			return false, fmt.Errorf("ended before it was ready: %w", p.err)
		default:
		}
		_, err := os.Stat(path)
		return err == nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, p.tail())
	}
	return clientcmd.BuildConfigFromFlags("", path)
}

// hostCluster is an embedded host cluster.
type hostCluster struct {
	once    sync.Once
	dir     string
	listen  string
	process *process
	config  *rest.Config
	client  kubernetes.Interface
	err     error
}

// shared is the host of all tests that do not harm it.
var shared = hostCluster{listen: "127.0.0.1:0"}

// create makes the host's directory and starts it.
func (h *hostCluster) create() {
	if h.dir, h.err = os.MkdirTemp("", "portico-integration-"); h.err == nil {
		h.start()
	}
}

func (h *hostCluster) start() {
	if h.err = os.RemoveAll(h.kubeconfigPath()); h.err != nil {
		return
	}
	h.process, h.err = start(h.dir, "host", "host", "--data-dir", h.dir, "--listen", h.listen, "--nodes", "2")
	if h.err != nil {
		return
	}
	if h.config, h.err = h.process.kubeconfig(h.kubeconfigPath()); h.err != nil {
		return
	}
	h.config.QPS = -1
	h.client, h.err = kubernetes.NewForConfig(h.config)
}

func (h *hostCluster) kubeconfigPath() string { return filepath.Join(h.dir, "kubeconfig.yaml") }

func (h *hostCluster) stop() {
	if h.process != nil {
		_ = h.process.end(syscall.SIGTERM)
	}
	if h.dir != "" {
		_ = os.RemoveAll(h.dir)
	}
}

// sharedHost returns the host cluster, starting it for the first caller.
func sharedHost(t *testing.T) *hostCluster {
	t.Helper()
	shared.once.Do(shared.create)
	if shared.err != nil {
		t.Fatalf("start the embedded host: %v", shared.err)
	}
	return &shared
}

// privateHost returns a host that a test may end and start again, at the same
// address.
func privateHost(t *testing.T) *hostCluster {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hostCluster{listen: free.Addr().String()}
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	h.create()
	t.Cleanup(h.stop)
	if h.err != nil {
		t.Fatalf("start an embedded host: %v", h.err)
	}
	return h
}

// cluster is a virtual cluster of one test.
type cluster struct {
	t         *testing.T
	name      string
	namespace string // on the host
	dir       string
	process   *process
	config    *rest.Config
	virtual   kubernetes.Interface
	host      kubernetes.Interface
}

// newCluster starts a virtual cluster in a host namespace of its own. Both are
// gone when the test ends.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	return newClusterOn(t, sharedHost(t))
}

func newClusterOn(t *testing.T, h *hostCluster) *cluster {
	t.Helper()
	return newClusterWith(t, h, "")
}

// newClusterWith starts a virtual cluster with further lines of configuration.
func newClusterWith(t *testing.T, h *hostCluster, more string) *cluster {
	t.Helper()
	ns, err := h.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "vc-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("create host namespace: %v", err)
	}
	c := &cluster{t: t, name: "c1", namespace: ns.Name, dir: t.TempDir(), host: h.client}
	config := fmt.Sprintf("name: %s\nhost:\n  kubeconfig: %s\n  namespace: %s\ndataDir: %s\nlisten: 127.0.0.1:0\n%s",
		c.name, h.kubeconfigPath(), c.namespace, c.dir, more)
	if err := os.WriteFile(c.configPath(), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.process != nil {
			if err := c.process.end(syscall.SIGTERM); err != nil {
				t.Errorf("porticod did not shut down cleanly: %v\n%s", err, c.process.tail())
			}
		}
		// Not bound to the test's context, which has ended by now.
		if err := h.client.CoreV1().Namespaces().Delete(context.Background(), c.namespace, metav1.DeleteOptions{}); err != nil {
			t.Errorf("delete host namespace: %v", err)
		}
	})
	c.start()
	return c
}

func (c *cluster) configPath() string     { return filepath.Join(c.dir, "portico.yaml") }
func (c *cluster) kubeconfigPath() string { return filepath.Join(c.dir, "kubeconfig.yaml") }

// start runs porticod and waits until it is ready. It serves on another port
// after each start.
func (c *cluster) start() {
	c.t.Helper()
	_ = os.Remove(c.kubeconfigPath())
	var err error
	if c.process, err = start(c.dir, "serve", "serve", "--config", c.configPath()); err != nil {
		c.t.Fatal(err)
	}
	if c.config, err = c.process.kubeconfig(c.kubeconfigPath()); err != nil {
		c.t.Fatalf("start porticod: %v", err)
	}
	c.config.QPS = -1
	if c.virtual, err = kubernetes.NewForConfig(c.config); err != nil {
		c.t.Fatal(err)
	}
}

// kill ends porticod with no chance to clean up.
func (c *cluster) kill() {
	c.t.Helper()
	var exit *exec.ExitError
	if err := c.process.end(syscall.SIGKILL); err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	c.process = nil
}

// hostName is the plain form of a host name (short names without "-x-").
func (c *cluster) hostName(namespace, name string) string {
	return name + "-x-" + namespace + "-x-" + c.name
}

// eventually waits until the condition holds, and fails with what it last said.
func eventually(t *testing.T, what string, holds func(ctx context.Context) (bool, string)) {
	t.Helper()
	var last string
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		ok, state := holds(ctx)
		last = state
		return ok, nil
	})
	if err != nil {
		t.Fatalf("%s: %v; last seen: %s", what, err, last)
	}
}
