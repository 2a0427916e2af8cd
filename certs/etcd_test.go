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

// tlsOf reads what Install has written: both sides verify each other.
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
