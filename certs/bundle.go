// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

// serviceAccountKeyBits follows kube-apiserver's RS256 tokens.
const serviceAccountKeyBits = 2048

// Common names of a cluster's authorities.
const (
	doorAuthorityName       = "portico-door-ca"
	signerAuthorityName     = "portico-signer-ca"
	adminAuthorityName      = "portico-admin-ca"
	frontProxyAuthorityName = "portico-front-proxy-ca"
	// formerAuthorityName is that of a door's authority that signed everything.
	formerAuthorityName = "portico-ca"
)

// FrontProxyName is the common name of the certificate with which the API
// server speaks for its users to aggregated APIs.
const FrontProxyName = "front-proxy-client"

// BundleOptions are the names that the certificates of one cluster have to
// cover.
type BundleOptions struct {
	ClusterDomain string   // cluster.local
	DNSNames      []string // of the door, besides localhost and kubernetes
	IPs           []net.IP // of the door, besides loopback
}

// Bundle is the PKI of one cluster, on disk.
type Bundle struct {
	// CAFile is the authority of the door and of nothing else.
	CAFile                                       string
	ServingCertFile, ServingKeyFile              string
	SignerCAFile, SignerCAKeyFile                string // for requests of tenants
	ClientCAFile                                 string // all authorities of client certificates
	FrontProxyCAFile                             string
	FrontProxyClientCertFile, FrontProxyKeyFile  string
	ServiceAccountKeyFile, ServiceAccountPubFile string

	// CAPEM is the authority by which clients verify the door, Admin the
	// certificate of an administrator of the cluster.
	CAPEM []byte
	Admin KeyPair

	// Due is when the first of the certificates has to be issued again.
	Due time.Time

	admin    *Authority
	accepted []byte
}

// EnsureBundle returns the PKI in dir. It makes missing files, and issues a
// certificate again that is due or no longer covers o. The caller must be the
// only one to use dir.
func EnsureBundle(dir string, o BundleOptions, now func() time.Time) (*Bundle, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	door, frontProxyCA, err := ensureRoots(dir, now)
	if err != nil {
		return nil, err
	}
	_, adminCA, accepted, err := ensureCredentials(dir, door, now)
	if err != nil {
		return nil, err
	}
	if err := writeChanged(at("client-ca.crt"), accepted); err != nil {
		return nil, err
	}
	b := &Bundle{
		CAFile:          at(fileCA),
		ServingCertFile: at("serving.crt"), ServingKeyFile: at("serving.key"),
		SignerCAFile: at(fileSignerCA), SignerCAKeyFile: at(fileSignerCAKey), ClientCAFile: at("client-ca.crt"),
		FrontProxyCAFile:         at(fileFrontProxyCA),
		FrontProxyClientCertFile: at("front-proxy-client.crt"), FrontProxyKeyFile: at("front-proxy-client.key"),
		ServiceAccountKeyFile: at(fileServiceAccountKey), ServiceAccountPubFile: at(fileServiceAccountPub),
		CAPEM: door.CertPEM(), admin: adminCA, accepted: accepted,
	}
	for _, l := range []struct {
		by   *Authority
		name string
		leaf Leaf
	}{
		{frontProxyCA, "front-proxy-client", Leaf{CommonName: FrontProxyName, Usage: Client}},
		{door, "serving", serving(o)},
		{adminCA, "admin", administrator()},
	} {
		pair, err := l.by.ensure(dir, l.name, l.leaf)
		if err != nil {
			return nil, fmt.Errorf("certificate %s: %w", l.name, err)
		}
		cert, err := parseCert(pair.CertPEM)
		if err != nil {
			return nil, err
		}
		if at := due(cert); b.Due.IsZero() || at.Before(b.Due) {
			b.Due = at
		}
		b.Admin = pair // the last
	}
	return b, nil
}

// administrator is the user that may do everything.
func administrator() Leaf {
	return Leaf{CommonName: "portico-admin", Organization: []string{"system:masters"}, Usage: Client}
}

// Administers reports whether a pair is a valid certificate of an administrator
// with enough of its life left, as Admin is.
func (b *Bundle) Administers(pair KeyPair) bool {
	return b.admin.covers(pair.CertPEM, administrator()) && belong(pair.CertPEM, pair.KeyPEM)
}

// Keep returns a list of certificates without the authorities of this cluster
// that signed administrators and are accepted no longer. Those of others stay.
func (b *Bundle) Keep(list []byte) []byte {
	var kept []byte
	revoked := false
	for block, rest := pem.Decode(list); block != nil; block, rest = pem.Decode(rest) {
		encoded := pem.EncodeToMemory(block)
		cert, err := x509.ParseCertificate(block.Bytes)
		if err == nil && cert.IsCA && (cert.Subject.CommonName == adminAuthorityName || cert.Subject.CommonName == formerAuthorityName) &&
			!bytes.Contains(b.accepted, encoded) {
			revoked = true
			continue
		}
		kept = append(kept, encoded...)
	}
	if !revoked {
		return list // with its comments
	}
	return kept
}

// serving names the door in every way in which it is reached.
func serving(o BundleOptions) Leaf {
	names := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	if o.ClusterDomain != "" {
		names = append(names, "kubernetes.default.svc."+o.ClusterDomain)
	}
	ips := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	for _, ip := range o.IPs {
		if ip != nil {
			ips = append(ips, ip)
		}
	}
	return Leaf{CommonName: "kube-apiserver", DNSNames: append(names, o.DNSNames...), IPs: ips, Usage: Server}
}

// ensure returns the leaf NAME.crt and NAME.key in dir, issued again if need
// be.
func (a *Authority) ensure(dir, name string, leaf Leaf) (KeyPair, error) {
	certFile, keyFile := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	certPEM, certErr := os.ReadFile(certFile)
	keyPEM, keyErr := os.ReadFile(keyFile)
	if certErr == nil && keyErr == nil && a.covers(certPEM, leaf) && belong(certPEM, keyPEM) {
		return KeyPair{CertPEM: certPEM, KeyPEM: keyPEM}, nil
	}
	for _, err := range []error{certErr, keyErr} {
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return KeyPair{}, err
		}
	}
	pair, err := a.Issue(leaf)
	if err != nil {
		return KeyPair{}, err
	}
	if err := writeFile(keyFile, pair.KeyPEM); err != nil {
		return KeyPair{}, err
	}
	return pair, writeFile(certFile, pair.CertPEM)
}
