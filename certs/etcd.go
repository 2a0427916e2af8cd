// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// EtcdAuthority is the authority of an etcd that one cluster has to itself, by
// the names of its files. A client with a certificate of it is the etcd's root.
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

// Files of a program that has a certificate of an EtcdAuthority.
const (
	etcdCertFile = "tls.crt"
	etcdKeyFile  = "tls.key"
)

// Renew returns the files of a program that has a certificate of the authority,
// by name: ca.crt, tls.crt and tls.key. Those in have are good while they match
// leaf and have more than two fifths of their life before them; then the result
// is nil. The key of the authority stays out of it.
func (e EtcdAuthority) Renew(have map[string][]byte, leaf Leaf, now func() time.Time) (map[string][]byte, error) {
	a, err := parseAuthority(e[fileCA], e[fileCAKey], "etcd", now)
	if err != nil {
		return nil, err
	}
	_, err = tls.X509KeyPair(have[etcdCertFile], have[etcdKeyFile])
	if err == nil && bytes.Equal(have[fileCA], a.certPEM) && a.covers(have[etcdCertFile], leaf) {
		return nil, nil
	}
	pair, err := a.Issue(leaf)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{fileCA: a.certPEM, etcdKeyFile: pair.KeyPEM, etcdCertFile: pair.CertPEM}, nil
}

// Install renews the files in dir where they are not good.
func (e EtcdAuthority) Install(dir string, leaf Leaf, now func() time.Time) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	have := map[string][]byte{}
	// A program that reads between two writes gets a pair that does not fit, and
	// tries again; the certificate is last, so that a crash in between is seen.
	names := []string{fileCA, etcdKeyFile, etcdCertFile}
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		have[name] = content
	}
	files, err := e.Renew(have, leaf, now)
	if files == nil || err != nil {
		return err
	}
	for _, name := range names {
		if err := writeChanged(filepath.Join(dir, name), files[name]); err != nil {
			return err
		}
	}
	return nil
}
