// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"portico.dev/portico/certs"
)

// TLS are the files of an authority, of a server at 127.0.0.1 and of a client
// of it, all PEM.
type TLS struct {
	CA                    string
	ServerCert, ServerKey string
	ClientCert, ClientKey string
}

// NewTLS makes an authority and certificates in a directory. The client's
// common name is user.
func NewTLS(t testing.TB, dir, user string) TLS {
	t.Helper()
	authority, err := certs.NewAuthority("test servers", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(l certs.Leaf) certs.KeyPair {
		pair, err := authority.Issue(l)
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	server := issue(certs.Leaf{CommonName: "server", DNSNames: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Usage: certs.Server})
	client := issue(certs.Leaf{CommonName: user, Usage: certs.Client})
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return TLS{
		CA:         write("ca.crt", authority.CertPEM()),
		ServerCert: write("server.crt", server.CertPEM),
		ServerKey:  write("server.key", server.KeyPEM),
		ClientCert: write("client.crt", client.CertPEM),
		ClientKey:  write("client.key", client.KeyPEM),
	}
}
