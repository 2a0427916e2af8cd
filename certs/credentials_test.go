// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package certs_test

import (
	"crypto/x509"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"portico.dev/portico/certs"
)

// accepts reports whether a door with the bundle b lets in a client.
func accepts(t *testing.T, b *certs.Bundle, client []byte) bool {
	t.Helper()
	return verifies(t, []byte(read(t, b.ClientCAFile)), client, x509.ExtKeyUsageClientAuth)
}

func verifies(t *testing.T, roots, certPEM []byte, usage x509.ExtKeyUsage) bool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(roots) {
		t.Fatal("no roots")
	}
	block, _ := pem.Decode(certPEM)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	_, err = cert.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: epoch, KeyUsages: []x509.ExtKeyUsage{usage}})
	return err == nil
}

// makeFormer makes dir that of a cluster of before, and returns the certificate
// of its administrator.
func makeFormer(t *testing.T, dir string) certs.KeyPair {
	t.Helper()
	admin, err := certs.MakeFormer(dir, at(epoch))
	if err != nil {
		t.Fatal(err)
	}
	return admin
}

func TestAuthoritiesAreApart(t *testing.T) {
	b := ensure(t, t.TempDir(), certs.BundleOptions{}, epoch)
	if !accepts(t, b, b.Admin.CertPEM) {
		t.Error("the administrator is not let in")
	}
	door, signer := b.CAPEM, []byte(read(t, b.SignerCAFile))
	if verifies(t, door, b.Admin.CertPEM, x509.ExtKeyUsageClientAuth) || verifies(t, signer, b.Admin.CertPEM, x509.ExtKeyUsageClientAuth) {
		t.Error("the administrator's certificate has the authority of the door or of tenants' requests")
	}
	serving := []byte(read(t, b.ServingCertFile))
	if !verifies(t, door, serving, x509.ExtKeyUsageServerAuth) {
		t.Error("the door does not verify")
	}
	if verifies(t, []byte(read(t, b.ClientCAFile)), serving, x509.ExtKeyUsageServerAuth) {
		t.Error("the door's authority is one of clients, too")
	}
}

func TestRotationRevokesTheAdministratorOnly(t *testing.T) {
	dir := t.TempDir()
	before := ensure(t, dir, certs.BundleOptions{}, epoch)
	signer, serving := read(t, before.SignerCAFile), read(t, before.ServingCertFile)
	credentials, err := certs.LoadCredentials(dir)
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := credentials.Rotate(at(epoch))
	if err != nil {
		t.Fatal(err)
	}
	if err := rotated.Install(dir); err != nil {
		t.Fatal(err)
	}
	after := ensure(t, dir, certs.BundleOptions{}, epoch)
	if accepts(t, after, before.Admin.CertPEM) || after.Administers(before.Admin) {
		t.Error("the revoked certificate is accepted")
	}
	if !accepts(t, after, after.Admin.CertPEM) || !after.Administers(after.Admin) {
		t.Error("the new certificate is not accepted")
	}
	theirs, err := certs.NewAuthority("portico-signer-ca", at(epoch))
	if err != nil {
		t.Fatal(err)
	}
	list := read(t, after.ClientCAFile) + string(theirs.CertPEM())
	if kept := after.Keep([]byte(list)); string(kept) != list {
		t.Error("more than the revoked authority leaves a list")
	}
	if kept := after.Keep([]byte(string(credentials["admin-ca.crt"]) + list)); string(kept) != list {
		t.Error("the revoked authority stays in a list")
	}
	if read(t, after.SignerCAFile) != signer || read(t, after.ServingCertFile) != serving {
		t.Error("more than the administrator's authority changed")
	}
}

// A cluster of before has one authority for everything. People hold kubeconfigs
// that it signed.
func TestClusterOfBeforeGoesOn(t *testing.T) {
	dir := t.TempDir()
	old := makeFormer(t, dir)
	ca := read(t, filepath.Join(dir, "ca.crt"))
	var b *certs.Bundle
	for range 2 { // the second start finds the new files
		b = ensure(t, dir, certs.BundleOptions{}, epoch)
		if string(b.CAPEM) != ca {
			t.Fatal("the door has another authority: no kubeconfig fits any more")
		}
		if !accepts(t, b, old.CertPEM) {
			t.Fatal("the old kubeconfig is not accepted")
		}
	}
	if verifies(t, b.CAPEM, b.Admin.CertPEM, x509.ExtKeyUsageClientAuth) {
		t.Error("the new kubeconfig is of the old authority")
	}
	credentials, err := certs.LoadCredentials(dir)
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := credentials.Rotate(at(epoch))
	if err != nil {
		t.Fatal(err)
	}
	if err := rotated.Install(dir); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if accepts(t, ensure(t, dir, certs.BundleOptions{}, epoch), old.CertPEM) {
			t.Fatal("the old kubeconfig is accepted after a rotation")
		}
	}
}

func TestCredentialsOfAClusterOfBeforeAcceptItsAuthority(t *testing.T) {
	of := t.TempDir()
	old := makeFormer(t, of)
	roots, err := certs.LoadRoots(of, at(epoch))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir() // of a replica that was never there
	if err := roots.Install(dir); err != nil {
		t.Fatal(err)
	}
	credentials, err := certs.OfferCredentials(dir, at(epoch))
	if err != nil {
		t.Fatal(err)
	}
	if err := credentials.Install(dir); err != nil {
		t.Fatal(err)
	}
	if !accepts(t, ensure(t, dir, certs.BundleOptions{}, epoch), old.CertPEM) {
		t.Error("the old kubeconfig is not accepted")
	}
}

func TestBrokenCredentialsAreRefused(t *testing.T) {
	fresh := func() certs.Credentials {
		c, err := certs.NewCredentials(nil, at(epoch))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	other := fresh()
	for name, spoil := range map[string]func(certs.Credentials){
		"key of another authority":   func(c certs.Credentials) { c["admin-ca.key"] = other["admin-ca.key"] },
		"no signer":                  func(c certs.Credentials) { delete(c, "signer-ca.crt") },
		"a former one that is noise": func(c certs.Credentials) { c["former-ca.crt"] = []byte("x") },
	} {
		t.Run(name, func(t *testing.T) {
			c, dir := maps.Clone(fresh()), t.TempDir()
			spoil(c)
			if err := c.Install(dir); err == nil {
				t.Error("installed")
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// Upstream looks at a file that changed; one that did not must not seem to have.
func TestFilesThatDidNotChangeAreNotWritten(t *testing.T) {
	dir := t.TempDir()
	ensure(t, dir, certs.BundleOptions{}, epoch)
	infos := func() map[string]os.FileInfo {
		all := map[string]os.FileInfo{}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if all[e.Name()], err = e.Info(); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	before := infos()
	credentials, err := certs.LoadCredentials(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := credentials.Install(dir); err != nil {
		t.Fatal(err)
	}
	ensure(t, dir, certs.BundleOptions{}, epoch.Add(time.Hour))
	after := infos()
	if len(after) != len(before) {
		t.Errorf("%d files, before %d", len(after), len(before))
	}
	for name, info := range after {
		if !os.SameFile(info, before[name]) {
			t.Errorf("%s was written again", name)
		}
	}
}

func TestDueIsBeforeTwoThirdsOfTheLife(t *testing.T) {
	dir := t.TempDir()
	b := ensure(t, dir, certs.BundleOptions{}, epoch)
	block, _ := pem.Decode(b.Admin.CertPEM)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if latest := cert.NotBefore.Add(cert.NotAfter.Sub(cert.NotBefore) * 2 / 3); !b.Due.Before(latest) || b.Due.Before(epoch) {
		t.Errorf("due at %s, want before %s", b.Due, latest)
	}
	later := ensure(t, dir, certs.BundleOptions{}, b.Due)
	if string(later.Admin.CertPEM) == string(b.Admin.CertPEM) || !later.Due.After(b.Due) {
		t.Errorf("not renewed when due: due next at %s", later.Due)
	}
	if later.Administers(b.Admin) {
		t.Error("a certificate that is due counts as one that can be given out")
	}
}
