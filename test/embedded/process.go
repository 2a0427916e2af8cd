// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"portico.dev/portico/cmd/porticod/app"
)

// childEnv makes the test binary behave as porticod.
const childEnv = "PORTICO_TEST_AS_PORTICOD"

// HostnameEnv in the environment of a porticod is the name that its machine
// seems to have.
const HostnameEnv = "PORTICO_TEST_HOSTNAME"

// Patience bounds every wait. It is far above the needs of a busy two-core
// machine; a test that gets here has failed.
const Patience = 90 * time.Second

// Main runs the tests of a package, or porticod in a child process of one. It
// does not return.
func Main(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		if name := os.Getenv(HostnameEnv); name != "" {
			if err := syscall.Sethostname([]byte(name)); err != nil {
				fmt.Fprintln(os.Stderr, "set the hostname:", err)
				os.Exit(1)
			}
		}
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		code := app.Main(ctx, app.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Args[1:])
		stop()
		os.Exit(code)
	}
	code := m.Run()
	shared.stop()
	os.Exit(code)
}

// Process is a porticod that runs as a child of the test.
type Process struct {
	Cmd  *exec.Cmd
	Log  string        // path of its log
	Done chan struct{} // closed when the child has ended
	Err  error         // how it ended; read after Done
}

// Start runs porticod with arguments. Its log is dir/name.log. environment adds
// to the test's own.
func Start(dir, name string, environment []string, args ...string) (*Process, error) {
	p := &Process{Log: filepath.Join(dir, name+".log"), Done: make(chan struct{})}
	out, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close() // The child has its own descriptor.
	p.Cmd = exec.Command(os.Args[0], args...)
	p.Cmd.Env = append(append(os.Environ(), childEnv+"=1"), environment...)
	p.Cmd.Stdout, p.Cmd.Stderr = out, out
	// A test binary that dies must not leave its children behind.
	p.Cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if slices.ContainsFunc(environment, func(e string) bool { return strings.HasPrefix(e, HostnameEnv+"=") }) {
		ownHostname(p.Cmd.SysProcAttr)
	}
	if err := p.Cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.Err = p.Cmd.Wait()
		close(p.Done)
	}()
	return p, nil
}

// ownHostname gives a child a hostname of its own, which may be set by anybody
// who is root in a user namespace.
func ownHostname(attr *syscall.SysProcAttr) {
	attr.Cloneflags = syscall.CLONE_NEWUTS
	if os.Geteuid() == 0 {
		return
	}
	attr.Cloneflags |= syscall.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
}

// End signals the child and waits for it.
func (p *Process) End(sig syscall.Signal) error {
	_ = p.Cmd.Process.Signal(sig) // It may have ended by itself.
	select {
	case <-p.Done:
		return p.Err
	case <-time.After(Patience):
		_ = p.Cmd.Process.Kill()
		<-p.Done
		return fmt.Errorf("did not end within %v of %v", Patience, sig)
	}
}

// Said reports whether the child's log has a text.
func (p *Process) Said(text string) bool {
	b, err := os.ReadFile(p.Log)
	return err == nil && strings.Contains(string(b), text)
}

// Tail returns the end of the child's log, for failure messages.
func (p *Process) Tail() string {
	b, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// Kubeconfig waits until the child has written its kubeconfig, which it does
// when it is ready.
func (p *Process) Kubeconfig(path string) (*rest.Config, error) {
	err := wait.PollUntilContextTimeout(context.Background(), 50*time.Millisecond, Patience, true, func(context.Context) (bool, error) {
		select {
		case <-p.Done:
			return false, fmt.Errorf("ended before it was ready: %w", p.Err)
		default:
		}
		_, err := os.Stat(path)
		return err == nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, p.Tail())
	}
	return clientcmd.BuildConfigFromFlags("", path)
}
