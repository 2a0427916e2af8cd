// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package certs_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"portico.dev/portico/certs"
)

// tlsOf reads the files that Install has written: both sides verify each other.
func tlsOf(t *testing.T, dir, serverName string) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		ServerName: serverName, MinVersion: tls.VersionTLS13,
	}
}

// shakeHands connects a client to a server, and returns both sides' errors.
func shakeHands(server, client *tls.Config) (error, error) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	ofServer := make(chan error, 1)
	go func() {
		s := tls.Server(a, server)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		_ = a.Close()
		ofServer <- err
	}()
	c := tls.Client(b, client)
	err := c.Handshake()
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, 1)) // a server's refusal comes with the first read
	}
	_ = b.Close()
	return <-ofServer, err
}

func TestEtcdMembersAndClientsKnowEachOther(t *testing.T) {
	authority, err := certs.NewEtcdAuthority(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	other, err := certs.NewEtcdAuthority(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	dirs := map[string]string{}
	for name, c := range map[string]struct {
		authority certs.EtcdAuthority
		leaf      certs.Leaf
	}{
		"member":   {authority, certs.Leaf{CommonName: "etcd-0", DNSNames: []string{"etcd-0.etcd"}, Usage: certs.Peer}},
		"peer":     {authority, certs.Leaf{CommonName: "etcd-1", DNSNames: []string{"etcd-1.etcd"}, Usage: certs.Peer}},
		"client":   {authority, certs.Leaf{CommonName: "porticod", Usage: certs.Client}},
		"stranger": {other, certs.Leaf{CommonName: "porticod", Usage: certs.Client}},
	} {
		dirs[name] = filepath.Join(t.TempDir(), name)
		if err := c.authority.Install(dirs[name], c.leaf, time.Now); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dirs[name], "ca.key")); !os.IsNotExist(err) {
			t.Errorf("the key of the authority is with the %s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		client, serverName string
		fails              bool
	}{
		"a client of the etcd":       {client: "client", serverName: "etcd-0.etcd"},
		"another member":             {client: "peer", serverName: "etcd-0.etcd"},
		"a member of another name":   {client: "peer", serverName: "etcd-2.etcd", fails: true},
		"a client of another etcd's": {client: "stranger", serverName: "etcd-0.etcd", fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			ofServer, ofClient := shakeHands(tlsOf(t, dirs["member"], ""), tlsOf(t, dirs[c.client], c.serverName))
			if failed := ofServer != nil || ofClient != nil; failed != c.fails {
				t.Errorf("server: %v, client: %v", ofServer, ofClient)
			}
		})
	}
	if err := (certs.EtcdAuthority{"ca.crt": authority["ca.crt"], "ca.key": other["ca.key"]}).Install(t.TempDir(), certs.Leaf{}, time.Now); err == nil {
		t.Error("installed an authority with another's key")
	}
}

// A certificate is renewed long before its end, with nothing but time between two
// looks, and then both sides know each other by either.
func TestEtcdCertificatesAreRenewed(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	authority, err := certs.NewEtcdAuthority(clock)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	leaf := certs.Leaf{CommonName: "etcd", DNSNames: []string{"etcd-0.etcd"}, Usage: certs.Peer}
	certificate := func() string {
		t.Helper()
		if err := authority.Install(dir, leaf, clock); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(filepath.Join(dir, "tls.crt"))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	first, before := certificate(), tlsOf(t, dir, "etcd-0.etcd")
	now = now.Add(7 * 30 * 24 * time.Hour)
	if certificate() != first {
		t.Error("a certificate was renewed after seven months")
	}
	now = now.Add(30 * 24 * time.Hour)
	second := certificate()
	if second == first {
		t.Error("a certificate was not renewed after eight months")
	}
	after := tlsOf(t, dir, "etcd-0.etcd")
	before.Time, after.Time = clock, clock
	if ofServer, ofClient := shakeHands(after, before); ofServer != nil || ofClient != nil {
		t.Errorf("the new one does not know the old one: %v, %v", ofServer, ofClient)
	}
	leaf.DNSNames = append(leaf.DNSNames, "etcd-1.etcd")
	third := certificate()
	if third == second {
		t.Error("a certificate without a name is taken for good")
	}
	if err := os.WriteFile(filepath.Join(dir, "tls.key"), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if certificate() == third {
		t.Error("a certificate without its key is taken for good")
	}
}
