// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"time"
)

// serviceAccountKeyBits follows kube-apiserver's RS256 tokens.
const serviceAccountKeyBits = 2048

// Common names of a cluster's authorities.
const (
	authorityName           = "portico-ca"
	frontProxyAuthorityName = "portico-front-proxy-ca"
)

// FrontProxyName is the common name of the certificate with which the API
// server speaks for its users to aggregated APIs.
const FrontProxyName = "front-proxy-client"

// BundleOptions are what the certificates of one cluster have to cover.
type BundleOptions struct {
	ClusterDomain string   // cluster.local
	DNSNames      []string // of the door, beside localhost and kubernetes
	IPs           []net.IP // of the door, beside loopback
}

// Bundle is the PKI of one cluster, on disk.
type Bundle struct {
	CAFile, CAKeyFile                            string
	ServingCertFile, ServingKeyFile              string
	FrontProxyCAFile                             string
	FrontProxyClientCertFile, FrontProxyKeyFile  string
	ServiceAccountKeyFile, ServiceAccountPubFile string

	// CAPEM is what clients verify the door with, Admin the certificate of an
	// administrator of the cluster.
	CAPEM []byte
	Admin KeyPair
}

// EnsureBundle returns the PKI in dir, after making what is missing and
// issuing anew what is due or no longer covers o. The caller must be the only
// one to use dir.
func EnsureBundle(dir string, o BundleOptions, now func() time.Time) (*Bundle, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	ca, frontProxyCA, err := ensureRoots(dir, now)
	if err != nil {
		return nil, err
	}
	if _, err := frontProxyCA.ensure(dir, "front-proxy-client", Leaf{CommonName: FrontProxyName, Usage: Client}); err != nil {
		return nil, err
	}
	if _, err := ca.ensure(dir, "serving", serving(o)); err != nil {
		return nil, err
	}
	admin, err := ca.ensure(dir, "admin", Leaf{CommonName: "portico-admin", Organization: []string{"system:masters"}, Usage: Client})
	if err != nil {
		return nil, err
	}
	return &Bundle{
		CAFile: at(fileCA), CAKeyFile: at(fileCAKey),
		ServingCertFile: at("serving.crt"), ServingKeyFile: at("serving.key"),
		FrontProxyCAFile:         at(fileFrontProxyCA),
		FrontProxyClientCertFile: at("front-proxy-client.crt"), FrontProxyKeyFile: at("front-proxy-client.key"),
		ServiceAccountKeyFile: at(fileServiceAccountKey), ServiceAccountPubFile: at(fileServiceAccountPub),
		CAPEM: ca.CertPEM(), Admin: admin,
	}, nil
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

// ensure returns the leaf NAME.crt and NAME.key in dir, issued anew if need be.
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
