// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"portico.dev/portico/cmd/porticod/child"
)

// patience bounds every wait for a server. It is far above the needs of a busy
// machine; a test that takes longer has failed.
const patience = 60 * time.Second

// Server is a server that a test may stop and start again, at the same address
// and with the same data.
type Server struct {
	// Address is where clients reach it, host:port.
	Address string
	// Dir is a directory of the server's own. It is gone after the test.
	Dir string

	t       testing.TB
	spec    child.Spec
	ready   func() error
	process *child.Process
}

// start starts the server and waits until it answers.
func start(t testing.TB, s *Server) *Server {
	t.Helper()
	s.t = t
	s.spec.Log = filepath.Join(s.Dir, "log")
	t.Cleanup(s.Stop)
	s.Start()
	return s
}

// Start starts a server that was stopped, and waits until it answers.
func (s *Server) Start() {
	s.t.Helper()
	var err error
	if s.process, err = child.Start(s.spec); err != nil {
		s.t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for {
		err := s.ready()
		if err == nil {
			return
		}
		select {
		case <-s.process.Ended():
			s.t.Fatalf("%s ended: %v\n%s", s.spec.Name, err, s.log())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s does not answer: %v\n%s", s.spec.Name, err, s.log())
		}
	}
}

// Stop ends the server with no chance to say goodbye, as a failing machine would.
func (s *Server) Stop() {
	if s.process == nil {
		return
	}
	s.process.Kill()
	s.process = nil
}

func (s *Server) log() string {
	b, err := os.ReadFile(s.spec.Log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-8<<10):])
}

const loopback = "127.0.0.1"

// free returns addresses of a host that no process listens on.
func free(t testing.TB, n int, host string) []string {
	t.Helper()
	addresses := make([]string, n)
	for i := range addresses {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() //nolint:errcheck // It was never used.
		addresses[i] = l.Addr().String()
	}
	return addresses
}

// dial reports whether something listens at an address.
func dial(ctx context.Context, address string) error {
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return c.Close()
}

// source is a path in this repository, in which tests run.
func source(t testing.TB, path string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "tree_test.go")); err == nil {
			return filepath.Join(dir, path)
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("the test does not run in the repository")
		}
		dir = filepath.Dir(dir)
	}
}
