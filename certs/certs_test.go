// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package certs_test

import (
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"portico.dev/portico/certs"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(t time.Time) func() time.Time { return func() time.Time { return t } }

func ensure(t *testing.T, dir string, o certs.BundleOptions, now time.Time) *certs.Bundle {
	t.Helper()
	b, err := certs.EnsureBundle(dir, o, at(now))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestBundleIsKeptWhileItServes(t *testing.T) {
	dir := t.TempDir()
	first := ensure(t, dir, certs.BundleOptions{}, epoch)
	serving, ca, key := read(t, first.ServingCertFile), read(t, first.CAFile), read(t, first.ServiceAccountKeyFile)

	for name, c := range map[string]struct {
		reason  string
		options certs.BundleOptions
		now     time.Time
		kept    bool
	}{
		"unchanged":   {"a restart must not issue anything", certs.BundleOptions{}, epoch.Add(time.Hour), true},
		"new address": {"the door moved", certs.BundleOptions{IPs: []net.IP{net.IPv4(10, 0, 0, 1)}}, epoch.Add(time.Hour), false},
		"new name":    {"the door got a name", certs.BundleOptions{DNSNames: []string{"door.example"}}, epoch.Add(time.Hour), false},
		"due":         {"three fifths of its life have passed", certs.BundleOptions{}, epoch.Add(220 * 24 * time.Hour), false},
		"not yet due": {"more than two fifths are left", certs.BundleOptions{}, epoch.Add(215 * 24 * time.Hour), true},
	} {
		t.Run(name, func(t *testing.T) {
			copied := t.TempDir()
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			b := ensure(t, copied, c.options, c.now)
			if kept := read(t, b.ServingCertFile) == serving; kept != c.kept {
				t.Errorf("%s: serving certificate kept: %v, want %v", c.reason, kept, c.kept)
			}
			if read(t, b.CAFile) != ca || read(t, b.ServiceAccountKeyFile) != key {
				t.Error("authority or service account key was replaced")
			}
		})
	}
}

func TestServingCertificateVerifies(t *testing.T) {
	b := ensure(t, t.TempDir(), certs.BundleOptions{ClusterDomain: "cluster.local", IPs: []net.IP{net.IPv4(10, 0, 0, 1)}}, epoch)
	pair, err := tls.LoadX509KeyPair(b.ServingCertFile, b.ServingKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b.CAPEM)
	for _, name := range []string{"localhost", "127.0.0.1", "10.0.0.1", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name, CurrentTime: epoch}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: epoch}); err == nil {
		t.Error("the serving certificate also passes as a client's")
	}
}

// A user who reads a key is that cluster's administrator.
func TestAttackOtherUsersReadKeys(t *testing.T) {
	dir := t.TempDir()
	ensure(t, dir, certs.BundleOptions{}, epoch)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", d.Name(), info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A new authority in place of a half lost one would lock everybody out without
// a word.
func TestHalfAnAuthorityIsAnError(t *testing.T) {
	dir := t.TempDir()
	ensure(t, dir, certs.BundleOptions{}, epoch)
	if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := certs.EnsureBundle(dir, certs.BundleOptions{}, at(epoch)); err == nil {
		t.Error("no error for an authority without its key")
	}
}

func TestKubeconfig(t *testing.T) {
	b := ensure(t, t.TempDir(), certs.BundleOptions{}, epoch)
	out, err := certs.Kubeconfig("c1", "https://127.0.0.1:8443", b.CAPEM, b.Admin)
	if err != nil {
		t.Fatal(err)
	}
	var parsed map[string]any
	if err := yaml.Unmarshal(out, &parsed); err != nil {
		t.Fatal(err)
	}
	if parsed["current-context"] != "c1" || parsed["kind"] != "Config" {
		t.Errorf("got %s", out)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig.yaml")
	if err := certs.WriteKubeconfig(path, out); err != nil {
		t.Fatal(err)
	}
	if read(t, path) != string(out) {
		t.Error("written file differs")
	}
}
