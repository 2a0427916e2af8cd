// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// The files of a cluster's credentials.
const (
	fileSignerCA, fileSignerCAKey = "signer-ca.crt", "signer-ca.key"
	fileAdminCA, fileAdminCAKey   = "admin-ca.crt", "admin-ca.key"
	// fileFormerCA has the authority of a directory of before, which signed the
	// administrator and the requests of tenants, too. It is there until the first
	// rotation.
	fileFormerCA = "former-ca.crt"
	// fileGeneration counts rotations, so that no copy of revoked credentials
	// passes for new ones.
	fileGeneration = "generation"
)

// Credentials are the authorities of client certificates, by the names of their
// files. All replicas have them in common, as they have Roots, and unlike these
// they change: Rotate revokes the administrator's certificates.
type Credentials map[string][]byte

func credentialFiles() []string {
	return []string{fileSignerCAKey, fileSignerCA, fileAdminCAKey, fileAdminCA}
}

func optionalFiles() []string { return []string{fileFormerCA, fileGeneration} }

// NewCredentials makes credentials in memory for the cluster of a door's
// authority. Client certificates of one that signed them itself, before there
// were others, stay valid.
func NewCredentials(doorCA []byte, now func() time.Time) (Credentials, error) {
	c := Credentials{}
	if signedClients(doorCA) {
		c[fileFormerCA] = bytes.Clone(doorCA)
	}
	if err := c.add(signerAuthorityName, fileSignerCA, fileSignerCAKey, now); err != nil {
		return nil, err
	}
	return c, c.add(adminAuthorityName, fileAdminCA, fileAdminCAKey, now)
}

func (c Credentials) add(commonName, certFile, keyFile string, now func() time.Time) error {
	authority, err := NewAuthority(commonName, now)
	if err != nil {
		return err
	}
	c[certFile] = authority.certPEM
	c[keyFile], err = encodeKey(authority.key)
	return err
}

// Rotate returns credentials with which no certificate of an administrator is
// valid that was issued before. Certificates that tenants requested stay valid,
// but those of an authority that signed both.
func (c Credentials) Rotate(now func() time.Time) (Credentials, error) {
	rotated := maps.Clone(c)
	delete(rotated, fileFormerCA)
	rotated[fileGeneration] = strconv.AppendInt(nil, int64(c.Generation())+1, 10)
	return rotated, rotated.add(adminAuthorityName, fileAdminCA, fileAdminCAKey, now)
}

// Generation is the number of rotations so far.
func (c Credentials) Generation() int {
	n, err := strconv.Atoi(string(c[fileGeneration]))
	if err != nil {
		return 0 // of before the first
	}
	return n
}

// Administers reports whether a pair is a valid certificate of an administrator
// with enough of its life left.
func (c Credentials) Administers(pair KeyPair, now func() time.Time) bool {
	admin, err := parseAuthority(c[fileAdminCA], c[fileAdminCAKey], "admin-ca", now)
	return err == nil && admin.covers(pair.CertPEM, administrator()) && belong(pair.CertPEM, pair.KeyPEM)
}

// Equal reports whether both are the same.
func (c Credentials) Equal(other Credentials) bool { return maps.EqualFunc(c, other, bytes.Equal) }

// LoadCredentials returns the credentials in dir, or nil if there are none that
// are complete.
func LoadCredentials(dir string) (Credentials, error) {
	c := Credentials{}
	for _, name := range append(credentialFiles(), optionalFiles()...) {
		content, err := os.ReadFile(filepath.Join(dir, name))
		switch {
		case errors.Is(err, os.ErrNotExist) && slices.Contains(optionalFiles(), name):
		case errors.Is(err, os.ErrNotExist):
			return nil, nil
		case err != nil:
			return nil, err
		default:
			c[name] = content
		}
	}
	return c, nil
}

// OfferCredentials returns the credentials in dir, or new ones for the cluster
// whose roots are there. Nothing is written.
func OfferCredentials(dir string, now func() time.Time) (Credentials, error) {
	own, err := LoadCredentials(dir)
	if own != nil || err != nil {
		return own, err
	}
	door, err := os.ReadFile(filepath.Join(dir, fileCA))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return NewCredentials(door, now)
}

// Install makes the credentials those of dir, in the place of others, for
// EnsureBundle to go on from.
func (c Credentials) Install(dir string) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, name := range credentialFiles() {
		if err := writeChanged(filepath.Join(dir, name), c[name]); err != nil {
			return err
		}
	}
	for _, name := range optionalFiles() {
		path := filepath.Join(dir, name)
		if len(c[name]) > 0 {
			if err := writeChanged(path, c[name]); err != nil {
				return err
			}
		} else if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Validate finds the faults that would show later: credentials come from
// outside of this process.
func (c Credentials) Validate() error {
	for _, name := range credentialFiles() {
		if len(c[name]) == 0 {
			return fmt.Errorf("credentials lack %s", name)
		}
	}
	if _, err := parseAuthority(c[fileSignerCA], c[fileSignerCAKey], "signer-ca", time.Now); err != nil {
		return err
	}
	if _, err := parseAuthority(c[fileAdminCA], c[fileAdminCAKey], "admin-ca", time.Now); err != nil {
		return err
	}
	if former := c[fileFormerCA]; len(former) > 0 {
		if _, err := parseCert(former); err != nil {
			return fmt.Errorf("parse %s: %w", fileFormerCA, err)
		}
	}
	return nil
}

// signedClients reports whether an authority of a door is of the time when it
// signed client certificates as well. Its name says so, in all copies of it.
func signedClients(doorCA []byte) bool {
	cert, err := parseCert(doorCA)
	return err == nil && cert.Subject.CommonName == formerAuthorityName
}

// ensureCredentials makes the authorities of clients in dir that are missing,
// and returns them with the bundle of all whose certificates are accepted.
func ensureCredentials(dir string, door *Authority, now func() time.Time) (signer, admin *Authority, accepted []byte, err error) {
	at := func(name string) string { return filepath.Join(dir, name) }
	// The administrator's authority last: without it, the directory is of before.
	if _, err := os.Stat(at(fileAdminCA)); errors.Is(err, os.ErrNotExist) && signedClients(door.certPEM) {
		if err := writeChanged(at(fileFormerCA), door.certPEM); err != nil {
			return nil, nil, nil, err
		}
	}
	if signer, err = loadOrCreate(dir, "signer-ca", signerAuthorityName, now); err != nil {
		return nil, nil, nil, err
	}
	if admin, err = loadOrCreate(dir, "admin-ca", adminAuthorityName, now); err != nil {
		return nil, nil, nil, err
	}
	former, err := os.ReadFile(at(fileFormerCA))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil, err
	}
	return signer, admin, bytes.Join([][]byte{signer.certPEM, admin.certPEM, former}, nil), nil
}
