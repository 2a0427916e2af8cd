// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"portico.dev/portico/cmd/porticod/child"
)

// EtcdOptions change an etcd's defaults.
type EtcdOptions struct {
	// Host is the address of this machine that it serves at; loopback if empty.
	Host string
	// TLS makes it serve with TLS, and demand a client certificate.
	TLS *TLS
	// Progress is the interval of notifications on quiet watches.
	Progress time.Duration
	// Quota is the size of its database in bytes from which on it refuses writes.
	Quota int64
}

// Etcd starts an etcd of one member.
func Etcd(t testing.TB, o EtcdOptions) *Server {
	t.Helper()
	binary, err := etcdBinary(source(t, "test/lab/mod/etcd"))
	if err != nil {
		t.Fatalf("build etcd: %v", err)
	}
	addresses := append(free(t, 1, cmp.Or(o.Host, loopback)), free(t, 1, loopback)...)
	s := &Server{Address: addresses[0], Dir: t.TempDir()}
	scheme, peer := "http://", "http://"+addresses[1]
	args := []string{
		"--name", "test", "--data-dir", filepath.Join(s.Dir, "data"), "--log-level", "warn",
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "test=" + peer,
		"--enable-grpc-gateway=false",
		"--unsafe-no-fsync",                                       // etcd's disk is not tested
		"--heartbeat-interval", "20", "--election-timeout", "200", // alone, it need not wait for votes
	}
	if o.TLS != nil {
		scheme = "https://"
		args = append(args, "--cert-file", o.TLS.ServerCert, "--key-file", o.TLS.ServerKey, "--client-cert-auth", "--trusted-ca-file", o.TLS.CA)
	}
	args = append(args, "--listen-client-urls", scheme+s.Address, "--advertise-client-urls", scheme+s.Address)
	if o.Progress > 0 {
		args = append(args, "--watch-progress-notify-interval", o.Progress.String())
	}
	if o.Quota > 0 {
		args = append(args, "--quota-backend-bytes", fmt.Sprint(o.Quota))
	}
	s.spec = child.Spec{Name: "etcd", Executable: binary, Args: args}
	s.ready = func() error { // it listens once it has a leader
		return dial(t.Context(), s.Address)
	}
	return start(t, s)
}

// etcdBinary builds etcd from the module in a directory, unless it is there
// already and current.
var etcdBinary = func() func(module string) (string, error) {
	var once sync.Once
	var path string
	var err error
	return func(module string) (string, error) {
		once.Do(func() { path, err = buildEtcd(module) })
		return path, err
	}
}()

func buildEtcd(module string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(cache, "portico-test", "etcd")
	if err := os.MkdirAll(filepath.Dir(binary), 0o700); err != nil {
		return "", err
	}
	// Packages are tested at the same time.
	lock, err := os.OpenFile(binary+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "go.etcd.io/etcd/server/v3") //nolint:noctx // It is waited for.
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return binary, nil
}
