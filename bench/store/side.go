// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/store/sqlite"
)

// side is one of the stores that are compared.
type side struct {
	name   string
	dir    string
	client *etcdk8s.Client
	api    kubernetes.Interface // of the virtual cluster on it
	// endpoint is host:port of a store that is a server.
	endpoint string
	stop     func() error
	// start starts it again on its data, in a process of its own, and returns
	// when it has answered a read.
	start func(context.Context) (*process, error)
}

func openPortico(ctx context.Context, dir string) (*side, error) {
	e, err := sqlite.Open(ctx, sqlite.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	return &side{
		name: "portico", dir: dir, client: e.Client(), stop: e.Close,
		start: func(ctx context.Context) (*process, error) { return startOpener(ctx, dir) },
	}, nil
}

func openEtcd(ctx context.Context, binary, dir string) (*side, error) {
	addresses, err := freeAddresses(2)
	if err != nil {
		return nil, err
	}
	url, peer := "http://"+addresses[0], "http://"+addresses[1]
	s := &side{name: "etcd", dir: dir, endpoint: addresses[0]}
	s.start = func(ctx context.Context) (*process, error) {
		return startServer(ctx, addresses[0], binary, "--name", "bench", "--data-dir", dir, "--log-level", "panic", "--quota-backend-bytes", "8589934592",
			"--listen-client-urls", url, "--advertise-client-urls", url,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "bench="+peer)
	}
	return s, s.connect(ctx)
}

func openKine(ctx context.Context, binary, dir string) (*side, error) {
	addresses, err := freeAddresses(1)
	if err != nil {
		return nil, err
	}
	s := &side{name: "kine", dir: dir, endpoint: addresses[0]}
	s.start = func(ctx context.Context) (*process, error) {
		return startServer(ctx, addresses[0], binary, "--listen-address", "tcp://"+addresses[0], "--metrics-bind-address", "0",
			"--endpoint", "sqlite://"+filepath.Join(dir, "state.db")+"?_journal=WAL&cache=shared&_busy_timeout=30000&_txlock=immediate&_synchronous=FULL")
	}
	return s, s.connect(ctx)
}

// connect starts a server for the measurements of requests.
func (s *side) connect(ctx context.Context) error {
	p, err := s.start(ctx)
	if err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	s.client = p.client
	s.stop = p.stop
	return nil
}

// process is a store in a process of its own.
type process struct {
	cmd     *exec.Cmd
	client  *etcdk8s.Client // nil if it has none
	started time.Duration   // from exec to the first answer
}

// stop ends the process as its operator would.
func (p *process) stop() error {
	if p.client != nil {
		_ = p.client.Close() // The server goes away.
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

func startServer(ctx context.Context, endpoint, binary string, args ...string) (*process, error) {
	began := time.Now()
	cmd := exec.CommandContext(ctx, binary, args...) //nolint:gosec // The programs are this benchmark's own choice.
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd}
	client, err := etcdk8s.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: time.Minute})
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	p.client = client
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		_, err := client.Kubernetes.Get(ctx, "/none", etcdk8s.GetOptions{})
		if err == nil {
			p.started = time.Since(began)
			return p, nil
		}
		if ctx.Err() != nil {
			return nil, errors.Join(fmt.Errorf("no answer: %w", err), p.stop())
		}
	}
}

// resident returns the memory of a process, in bytes.
func (p *process) resident() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("no VmRSS")
}

// freeAddresses returns loopback addresses that no process listens on.
func freeAddresses(n int) (out []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // Nothing to wait for.
		if err != nil {
			return nil, err
		}
		defer l.Close() //nolint:errcheck // It was never used.
		out = append(out, l.Addr().String())
	}
	return out, nil
}
