// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"os"
	"path/filepath"
	"time"
)

// EtcdAuthority is the authority of an etcd that one cluster has to itself, by
// the names of its files. Whoever has a certificate of it is the etcd's root.
type EtcdAuthority map[string][]byte

// NewEtcdAuthority makes one in memory.
func NewEtcdAuthority(now func() time.Time) (EtcdAuthority, error) {
	a, err := NewAuthority("portico-etcd-ca", now)
	if err != nil {
		return nil, err
	}
	key, err := encodeKey(a.key)
	if err != nil {
		return nil, err
	}
	return EtcdAuthority{fileCA: a.certPEM, fileCAKey: key}, nil
}

// Install writes what one program needs into dir: ca.crt, and tls.crt and tls.key
// of a leaf that is new each time. The key of the authority stays out of it.
func (e EtcdAuthority) Install(dir string, leaf Leaf, now func() time.Time) error {
	a, err := parseAuthority(e[fileCA], e[fileCAKey], "etcd", now)
	if err != nil {
		return err
	}
	pair, err := a.Issue(leaf)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, f := range []struct {
		name    string
		content []byte
	}{{fileCA, a.certPEM}, {"tls.key", pair.KeyPEM}, {"tls.crt", pair.CertPEM}} {
		if err := writeFile(filepath.Join(dir, f.name), f.content); err != nil {
			return err
		}
	}
	return nil
}
