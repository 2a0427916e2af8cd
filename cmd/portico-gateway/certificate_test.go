// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	testingclock "k8s.io/utils/clock/testing"

	"portico.dev/portico/certs"
)

func TestCertificateIsReadAgain(t *testing.T) {
	authority, err := certs.NewAuthority("test", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	write := func(name string) {
		t.Helper()
		pair, err := authority.Issue(certs.Leaf{CommonName: name, DNSNames: []string{name}, Usage: certs.Server})
		if err != nil {
			t.Fatal(err)
		}
		for file, content := range map[string][]byte{certFile: pair.CertPEM, keyFile: pair.KeyPEM} {
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	clock := testingclock.NewFakePassiveClock(time.Now())
	if _, err := newCertificate(certFile, keyFile, clock); err == nil {
		t.Error("a certificate of no files")
	}
	write("one")
	c, err := newCertificate(certFile, keyFile, clock)
	if err != nil {
		t.Fatal(err)
	}
	name := func() string {
		t.Helper()
		pair, err := c.get(&tls.ClientHelloInfo{})
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.Subject.CommonName
	}
	write("two")
	if got := name(); got != "one" {
		t.Errorf("at once: %s", got)
	}
	clock.SetTime(clock.Now().Add(rereadAfter))
	if got := name(); got != "two" {
		t.Errorf("later: %s", got)
	}
	// Half of a change is no reason to refuse clients.
	if err := os.WriteFile(certFile, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	clock.SetTime(clock.Now().Add(rereadAfter))
	if got := name(); got != "two" {
		t.Errorf("half written: %s", got)
	}
}
