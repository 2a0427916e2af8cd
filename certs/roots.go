// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The files of a cluster's roots.
const (
	fileCA, fileCAKey                     = "ca.crt", "ca.key"
	fileFrontProxyCA, fileFrontProxyCAKey = "front-proxy-ca.crt", "front-proxy-ca.key"
	fileServiceAccountKey                 = "sa.key"
	fileServiceAccountPub                 = "sa.pub"
)

// ErrOtherRoots is returned when a directory holds the roots of another cluster.
var ErrOtherRoots = errors.New("the directory holds the keys of another cluster")

// Roots are the files that all replicas of a cluster must have in common: the
// authorities of the door and of the front proxy and the key that signs tokens,
// by the names of their files. They never change.
type Roots map[string][]byte

func rootFiles() []string {
	return []string{fileServiceAccountPub, fileServiceAccountKey, fileCAKey, fileCA, fileFrontProxyCAKey, fileFrontProxyCA}
}

// NewRoots makes roots in memory.
func NewRoots(now func() time.Time) (Roots, error) {
	r := Roots{}
	for _, a := range []struct{ name, cert, key string }{
		{doorAuthorityName, fileCA, fileCAKey}, {frontProxyAuthorityName, fileFrontProxyCA, fileFrontProxyCAKey},
	} {
		authority, err := NewAuthority(a.name, now)
		if err != nil {
			return nil, err
		}
		if r[a.key], err = encodeKey(authority.key); err != nil {
			return nil, err
		}
		r[a.cert] = authority.certPEM
	}
	private, public, err := newServiceAccountKey()
	if err != nil {
		return nil, err
	}
	r[fileServiceAccountKey], r[fileServiceAccountPub] = private, public
	return r, nil
}

// LoadRoots returns the roots in dir, and makes missing ones, or nil if there
// are none at all.
func LoadRoots(dir string, now func() time.Time) (Roots, error) {
	some := false
	for _, name := range rootFiles() {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			some = true
		} else if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	if !some {
		return nil, nil
	}
	if _, _, err := ensureRoots(dir, now); err != nil {
		return nil, err
	}
	r := Roots{}
	for _, name := range rootFiles() {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		r[name] = content
	}
	return r, nil
}

// Install writes the roots into dir, for EnsureBundle to go on from. It returns
// ErrOtherRoots if others are there.
func (r Roots) Install(dir string) error {
	if err := r.validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var missing []string
	for _, name := range rootFiles() {
		content, err := os.ReadFile(filepath.Join(dir, name))
		switch {
		case errors.Is(err, os.ErrNotExist):
			missing = append(missing, name)
		case err != nil:
			return err
		case !bytes.Equal(content, r[name]):
			return fmt.Errorf("%w: %s differs", ErrOtherRoots, filepath.Join(dir, name))
		}
	}
	for _, name := range missing {
		if err := writeFile(filepath.Join(dir, name), r[name]); err != nil {
			return err
		}
	}
	return nil
}

// validate finds faults that would show later, or let everyone in: roots come
// from outside of this process.
func (r Roots) validate() error {
	for _, name := range rootFiles() {
		if len(r[name]) == 0 {
			return fmt.Errorf("roots lack %s", name)
		}
	}
	if _, err := parseAuthority(r[fileCA], r[fileCAKey], "ca", time.Now); err != nil {
		return err
	}
	_, err := parseAuthority(r[fileFrontProxyCA], r[fileFrontProxyCAKey], "front-proxy-ca", time.Now)
	return err
}

// ensureRoots makes the roots in dir that are missing, and returns the authorities.
func ensureRoots(dir string, now func() time.Time) (door, frontProxy *Authority, err error) {
	if door, err = loadOrCreate(dir, "ca", doorAuthorityName, now); err != nil {
		return nil, nil, err
	}
	if frontProxy, err = loadOrCreate(dir, "front-proxy-ca", frontProxyAuthorityName, now); err != nil {
		return nil, nil, err
	}
	return door, frontProxy, ensureServiceAccountKey(filepath.Join(dir, fileServiceAccountKey), filepath.Join(dir, fileServiceAccountPub))
}

// ensureServiceAccountKey makes the key that signs tokens. It is never
// replaced: tokens in use were signed with it.
func ensureServiceAccountKey(keyFile, pubFile string) error {
	if _, err := os.Stat(keyFile); err == nil {
		_, err = os.Stat(pubFile)
		return err
	}
	private, public, err := newServiceAccountKey()
	if err != nil {
		return err
	}
	// The private key last: with it the pair exists.
	if err := writeFile(pubFile, public); err != nil {
		return err
	}
	return writeFile(keyFile, private)
}

func newServiceAccountKey() (private, public []byte, err error) {
	key, err := rsa.GenerateKey(rand.Reader, serviceAccountKeyBits)
	if err != nil {
		return nil, nil, fmt.Errorf("generate service account key: %w", err)
	}
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, nil, fmt.Errorf("encode service account key: %w", err)
	}
	return encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)), encode("PUBLIC KEY", pub), nil
}
