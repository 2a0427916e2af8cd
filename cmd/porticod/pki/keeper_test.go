// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package pki_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"portico.dev/portico/certs"
	"portico.dev/portico/cmd/porticod/pki"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// fixture is a keeper that runs.
type fixture struct {
	*pki.Keeper
	t           *testing.T
	clock       *clocktesting.FakeClock
	names       atomic.Pointer[certs.BundleOptions]
	credentials atomic.Pointer[certs.Credentials]
	ready       chan struct{}
	published   chan *certs.Bundle
	refuse      atomic.Int32 // publications that fail
}

func run(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, clock: clocktesting.NewFakeClock(epoch), ready: make(chan struct{}), published: make(chan *certs.Bundle, 10)}
	f.names.Store(&certs.BundleOptions{})
	credentials, err := certs.NewCredentials(nil, f.clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	f.credentials.Store(&credentials)
	f.Keeper, err = pki.New(pki.Config{
		Dir: t.TempDir(), Clock: f.clock,
		Names:       func() certs.BundleOptions { return *f.names.Load() },
		Credentials: func() certs.Credentials { return *f.credentials.Load() },
		Publish: func(_ context.Context, b *certs.Bundle) error {
			if f.refuse.Add(-1) >= 0 {
				return errors.New("refused")
			}
			f.published <- b
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx, f.ready) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f
}

// publication waits for the next kubeconfig.
func (f *fixture) publication() *certs.Bundle {
	f.t.Helper()
	select {
	case b := <-f.published:
		return b
	case <-time.After(20 * time.Second):
		f.t.Fatal("no kubeconfig was published")
		return nil
	}
}

// pass lets time pass, in steps that the keeper sees.
func (f *fixture) pass(d time.Duration) {
	f.t.Helper()
	for end := f.clock.Now().Add(d); f.clock.Now().Before(end); {
		f.idle()
		f.clock.Step(min(24*time.Hour, end.Sub(f.clock.Now())))
	}
	f.idle()
}

// idle waits until the keeper waits.
func (f *fixture) idle() {
	f.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f.clock.HasWaiters(); {
		if time.Now().After(deadline) {
			f.t.Fatal("the keeper does not wait")
		}
		runtime.Gosched()
	}
}

func certificate(t *testing.T, pemBytes []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(pemBytes)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func file(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestKubeconfigIsPublishedOnceTheClusterIsReady(t *testing.T) {
	f := run(t)
	f.pass(48 * time.Hour)
	if len(f.published) > 0 {
		t.Error("published before the cluster was ready")
	}
	close(f.ready)
	f.publication()
	f.pass(48 * time.Hour)
	if len(f.published) > 0 {
		t.Error("published again without a change")
	}
}

func TestEveryLeafIsRenewedInTime(t *testing.T) {
	f := run(t)
	close(f.ready)
	first := f.publication()
	_, changed := f.Current()
	leaves := map[string]string{"serving": first.ServingCertFile, "front proxy": first.FrontProxyClientCertFile}
	old := map[string]*x509.Certificate{}
	for name, path := range leaves {
		old[name] = certificate(t, file(t, path))
	}
	latest := old["serving"].NotBefore.Add(old["serving"].NotAfter.Sub(old["serving"].NotBefore) * 2 / 3)
	f.pass(latest.Sub(epoch))
	renewed := f.publication()
	if string(renewed.Admin.CertPEM) == string(first.Admin.CertPEM) {
		t.Error("the administrator's certificate is the old one")
	}
	select {
	case <-changed:
	default:
		t.Error("nobody is told of the new certificate")
	}
	for name, path := range leaves {
		if c := certificate(t, file(t, path)); c.Equal(old[name]) || !c.NotAfter.After(old[name].NotAfter) {
			t.Errorf("%s: not renewed at two thirds of its life", name)
		}
	}
	if string(renewed.CAPEM) != string(first.CAPEM) {
		t.Error("the authority was replaced")
	}
}

func TestNewNameOfTheDoorIsInItsCertificateAtOnce(t *testing.T) {
	f := run(t)
	f.idle()
	f.names.Store(&certs.BundleOptions{DNSNames: []string{"lb.example"}, IPs: []net.IP{net.IPv4(192, 0, 2, 7)}})
	f.Wake() // no time passes
	b, changed := f.Current()
	for deadline := time.Now().Add(20 * time.Second); ; {
		c := certificate(t, file(t, b.ServingCertFile))
		if slices.Contains(c.DNSNames, "lb.example") && c.VerifyHostname("192.0.2.7") == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the certificate names %v", c.DNSNames)
		}
		runtime.Gosched()
	}
	select {
	case <-changed:
		t.Error("the administrator's certificate was replaced as well")
	default:
	}
}

func TestRotatedCredentialsAreTakenAtOnce(t *testing.T) {
	f := run(t)
	close(f.ready)
	first := f.publication()
	rotated, err := f.credentials.Load().Rotate(f.clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	f.credentials.Store(&rotated)
	f.Wake()
	next := f.publication()
	if !next.Administers(next.Admin) || next.Administers(first.Admin) {
		t.Error("the published certificate is not of the new authority")
	}
	if string(file(t, next.ClientCAFile)) != string(slices.Concat(rotated["signer-ca.crt"], rotated["admin-ca.crt"])) {
		t.Error("the door accepts others than the two authorities")
	}
}

// The host answers with credentials of before a rotation, from its cache or from a
// Secret that somebody restored. They are not taken, and the revoked certificate
// stays revoked.
func TestAttackCredentialsOfBeforeARotationReturn(t *testing.T) {
	f := run(t)
	close(f.ready)
	f.publication()
	before := f.credentials.Load()
	rotated, err := before.Rotate(f.clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	f.credentials.Store(&rotated)
	f.Wake()
	next := f.publication()
	none := certs.Credentials(nil)
	for reason, c := range map[string]*certs.Credentials{"none": &none, "those of before": before} {
		f.credentials.Store(c)
		f.Wake()
		f.pass(48 * time.Hour)
		b, _ := f.Current()
		if !b.Administers(next.Admin) || len(f.published) > 0 || !f.Credentials().Equal(rotated) {
			t.Errorf("%s: the credentials changed", reason)
		}
	}
}

func TestFailureIsTriedAgain(t *testing.T) {
	f := run(t)
	f.refuse.Store(2)
	broken := certs.Credentials{"admin-ca.crt": []byte("x")}
	good := f.credentials.Swap(&broken)
	close(f.ready)
	f.Wake()
	f.pass(2 * time.Second)
	if len(f.published) > 0 {
		t.Error("published with broken credentials")
	}
	f.credentials.Store(good)
	f.pass(10 * 24 * time.Hour)
	f.publication()
}
