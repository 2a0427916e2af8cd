// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 365 * 24 * time.Hour

	// backdate lets certificates work on machines whose clocks are behind.
	backdate = 5 * time.Minute
)

// Usage says which side of a TLS connection a leaf is for.
type Usage int

const (
	// Client certificates name a user by common name and groups by organization.
	Client Usage = iota
	// Server certificates name addresses by DNS names and IPs.
	Server
	// Peer certificates are those of servers that are clients of each other.
	Peer
)

// Leaf is the content of a certificate to issue.
type Leaf struct {
	CommonName   string
	Organization []string
	DNSNames     []string
	IPs          []net.IP
	Usage        Usage
}

// KeyPair is a certificate with its private key, both in PEM.
type KeyPair struct {
	CertPEM []byte
	KeyPEM  []byte
}

// Authority signs leaf certificates.
type Authority struct {
	cert    *x509.Certificate
	key     crypto.Signer
	certPEM []byte
	now     func() time.Time
}

// NewAuthority makes a self-signed authority with a new ECDSA P-256 key.
func NewAuthority(commonName string, now func() time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key of authority %q: %w", commonName, err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             now().Add(-backdate),
		NotAfter:              now().Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign authority %q: %w", commonName, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{cert: cert, key: key, certPEM: encode("CERTIFICATE", der), now: now}, nil
}

// loadOrCreate reads the authority NAME.crt and NAME.key in dir, or makes it
// if neither exists. One without the other is an error: making a new authority
// would invalidate every certificate and kubeconfig of the old one.
func loadOrCreate(dir, name, commonName string, now func() time.Time) (*Authority, error) {
	certFile, keyFile := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	certPEM, certErr := os.ReadFile(certFile)
	keyPEM, keyErr := os.ReadFile(keyFile)
	switch {
	case certErr == nil && keyErr == nil:
		return parseAuthority(certPEM, keyPEM, name, now)
	case !errors.Is(keyErr, os.ErrNotExist) && keyErr != nil:
		return nil, fmt.Errorf("read authority %s: %w", name, keyErr)
	case !errors.Is(certErr, os.ErrNotExist):
		return nil, fmt.Errorf("read authority %s: certificate and key do not belong together: %w", name, errors.Join(certErr, keyErr))
	}
	a, err := NewAuthority(commonName, now)
	if err != nil {
		return nil, err
	}
	encoded, err := encodeKey(a.key)
	if err != nil {
		return nil, err
	}
	// The certificate last: with it the authority exists, and a key that was
	// left by a crash in between is one that signed nothing.
	if err := writeFile(keyFile, encoded); err != nil {
		return nil, err
	}
	return a, writeFile(certFile, a.certPEM)
}

func parseAuthority(certPEM, keyPEM []byte, name string, now func() time.Time) (*Authority, error) {
	cert, err := parseCert(certPEM)
	if err != nil {
		return nil, fmt.Errorf("parse authority %s: %w", name, err)
	}
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		return nil, fmt.Errorf("parse authority %s: key is not PEM", name)
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse authority %s: %w", name, err)
	}
	if !cert.IsCA || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("parse authority %s: certificate and key do not belong together", name)
	}
	return &Authority{cert: cert, key: key, certPEM: certPEM, now: now}, nil
}

// CertPEM returns the authority's certificate, for those who are to trust it.
func (a *Authority) CertPEM() []byte { return bytes.Clone(a.certPEM) }

// Issue signs a leaf with a new key. It is valid for a year, or as long as the
// authority if that ends sooner.
func (a *Authority) Issue(leaf Leaf) (KeyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return KeyPair{}, fmt.Errorf("generate key of %q: %w", leaf.CommonName, err)
	}
	serial, err := newSerial()
	if err != nil {
		return KeyPair{}, err
	}
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	switch leaf.Usage {
	case Server:
		usages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	case Peer:
		usages = append(usages, x509.ExtKeyUsageServerAuth)
	}
	notAfter := a.now().Add(leafLife)
	if notAfter.After(a.cert.NotAfter) {
		notAfter = a.cert.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: leaf.CommonName, Organization: leaf.Organization},
		NotBefore:    a.now().Add(-backdate),
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  usages,
		DNSNames:     leaf.DNSNames,
		IPAddresses:  leaf.IPs,
	}, a.cert, key.Public(), a.key)
	if err != nil {
		return KeyPair{}, fmt.Errorf("sign %q: %w", leaf.CommonName, err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return KeyPair{}, err
	}
	return KeyPair{CertPEM: encode("CERTIFICATE", der), KeyPEM: keyPEM}, nil
}

// due is when a certificate is to be issued again: after three fifths of its
// life. A process that looks once an hour, or that was not there for some time,
// still does it before two thirds.
func due(cert *x509.Certificate) time.Time {
	life := cert.NotAfter.Sub(cert.NotBefore)
	return cert.NotBefore.Add(life / 5 * 3)
}

// covers reports whether a certificate on disk still serves as leaf.
func (a *Authority) covers(certPEM []byte, leaf Leaf) bool {
	cert, err := parseCert(certPEM)
	if err != nil || cert.CheckSignatureFrom(a.cert) != nil {
		return false
	}
	if !a.now().Before(due(cert)) || cert.Subject.CommonName != leaf.CommonName || !slices.Equal(cert.Subject.Organization, leaf.Organization) {
		return false
	}
	for _, name := range leaf.DNSNames {
		if !slices.Contains(cert.DNSNames, name) {
			return false
		}
	}
	for _, ip := range leaf.IPs {
		if !slices.ContainsFunc(cert.IPAddresses, ip.Equal) {
			return false
		}
	}
	return true
}

func parseCert(certPEM []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return nil, errors.New("certificate is not PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("key is a %T, not ECDSA", key)
	}
	der, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		return nil, err
	}
	return encode("EC PRIVATE KEY", der), nil
}

// newSerial returns a random serial number of 127 bits, positive as RFC 5280
// wants it.
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("choose serial number: %w", err)
	}
	return n, nil
}
