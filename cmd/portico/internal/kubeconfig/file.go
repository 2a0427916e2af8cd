// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kubeconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"portico.dev/portico/cmd/portico/internal/output"
)

const (
	// lockLimit is how long another writer is waited for. A lock that is older
	// than staleLock was left behind by one that was killed: writing takes
	// milliseconds.
	lockLimit = 15 * time.Second
	staleLock = 10 * time.Second
)

// File is the kubeconfig that is written, among those that are read.
type File struct {
	Path  string
	Rules *clientcmd.ClientConfigLoadingRules
}

// Locate returns the files that kubectl would use: the explicit one, those of
// the environment variable KUBECONFIG, or that of the home directory. The first
// that exists is written, since it wins over the others.
func Locate(explicit string) File {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = explicit
	return File{Path: rules.GetDefaultFilename(), Rules: rules}
}

// Merged returns the content of all files together.
func (f File) Merged() (*api.Config, error) {
	c, err := f.Rules.Load()
	if errors.Is(err, fs.ErrNotExist) {
		return api.NewConfig(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	return c, nil
}

// Edit changes the file. Without a difference, nothing is written.
func (f File) Edit(change func(*api.Config) error) error {
	// A link stays a link: the file that it leads to is replaced.
	path := f.Path
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	unlock, err := lock(path + ".lock")
	if err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	defer unlock()
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	c, err := clientcmd.Load(before)
	if err != nil {
		return fmt.Errorf("read kubeconfig %s: %w", path, err)
	}
	if err := change(c); err != nil {
		return err
	}
	after, err := clientcmd.Write(*c)
	if err != nil {
		return fmt.Errorf("encode kubeconfig: %w", err)
	}
	if bytes.Equal(before, after) {
		return nil
	}
	if err := replace(path, after); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}

// replace puts a file with the permissions of the old one in its place at once.
func replace(path string, content []byte) error {
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	next, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(next.Name()) //nolint:errcheck // It is gone if it was renamed.
	_, err = next.Write(content)
	err = errors.Join(err, next.Chmod(mode), next.Sync(), next.Close())
	if err != nil {
		return err
	}
	return os.Rename(next.Name(), path)
}

// lock takes the lock that kubectl takes, too.
func lock(path string) (unlock func(), err error) {
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			_ = f.Close()
			return func() { _ = os.Remove(path) }, nil // A lock that stays is stale soon.
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > staleLock {
			_ = os.Remove(path) // The next turn says why.
		}
		if time.Since(began) > lockLimit {
			return nil, output.WithHint(fmt.Errorf("waited %s for another program to remove the lock %s", lockLimit, path),
				"if no program is writing the kubeconfig, remove the file")
		}
	}
}
