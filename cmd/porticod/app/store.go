// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/store"
	"portico.dev/portico/store/etcd"
	"portico.dev/portico/store/kine"
	"portico.dev/portico/store/sqlite"
)

// storeOpener opens the store of a control plane.
type storeOpener func(ctx context.Context) (store.Backend, error)

// openerOf is the store of a virtual cluster. SQLite has its history in memory
// and in the same file, so that it is bounded with the rest.
func openerOf(c *config.Config) storeOpener {
	bytes, err := c.Store.MaxBytes()
	if err != nil {
		return func(context.Context) (store.Backend, error) { return nil, err }
	}
	if c.Store.Endpoint != "" {
		return limited(guarded(sharedStore(c.Store), c.Store.Prefix), bytes, c.Store.Prefix)
	}
	return limited(guarded(sqliteStore(c.DataDir, sqlite.Options{
		Dir: filepath.Join(c.DataDir, storeDir), Durability: sqlite.Durability(c.Store.Durability), MaxHistory: bytes / 2,
	}), ""), bytes, "")
}

// sqliteStore is the store that lives in a data directory.
func sqliteStore(dataDir string, o sqlite.Options) storeOpener {
	return func(ctx context.Context) (store.Backend, error) {
		if err := refuseHalfRestored(dataDir); err != nil {
			return nil, err
		}
		backend, err := sqlite.Open(ctx, o)
		switch {
		case errors.Is(err, store.ErrLocked):
			return nil, withHint(fmt.Errorf("data directory %s is in use by another process: %w", dataDir, err),
				"one virtual cluster is one process; stop the other one or choose another --data-dir")
		case errors.Is(err, store.ErrCorrupt):
			return nil, withHint(err, "porticod check "+dataDir+" says more; "+useSnapshot)
		case errors.Is(err, store.ErrForeign):
			return nil, withHint(err, "choose a --data-dir of porticod's, or an empty one")
		case errors.Is(err, store.ErrNewerSchema):
			return nil, withHint(err, "start the version of porticod that wrote it, or a newer one")
		case err != nil:
			return nil, withHint(err, "look at the disk of "+dataDir+": porticod must be able to write there")
		}
		return backend, nil
	}
}

// sharedStore is the store that the configuration names.
func sharedStore(c config.Store) storeOpener {
	return func(ctx context.Context) (store.Backend, error) {
		backend, err := openShared(ctx, c)
		switch {
		case errors.Is(err, store.ErrDenied):
			return nil, withHint(fmt.Errorf("open store: %w", err), "check store.usernameFile, store.passwordFile and the rights of the user")
		case err != nil:
			return nil, withHint(fmt.Errorf("open store: %w", err), "check store.endpoint and store.tls, and that the store is up")
		}
		return backend, nil
	}
}

func openShared(ctx context.Context, c config.Store) (store.Backend, error) {
	endpoint, err := c.Parse()
	if err != nil {
		return nil, err
	}
	username, err := credential(c.UsernameFile)
	if err != nil {
		return nil, fmt.Errorf("store.usernameFile: %w", err)
	}
	password, err := credential(c.PasswordFile)
	if err != nil {
		return nil, fmt.Errorf("store.passwordFile: %w", err)
	}
	var verified *tls.Config
	if endpoint.TLS {
		if verified, err = clientTLS(c.TLS.CAFile, c.TLS.CertFile, c.TLS.KeyFile); err != nil {
			return nil, fmt.Errorf("store.tls: %w", err)
		}
		verified.ServerName = c.TLS.ServerName
	}
	if endpoint.Kind == config.StoreEtcd {
		return opened(etcd.Open(ctx, etcd.Options{
			Endpoints: endpoint.Addresses, Prefix: c.Prefix, TLS: verified, Username: username, Password: password,
		}))
	}
	return opened(kine.Open(ctx, kine.Options{
		Database: kine.Database(endpoint.Kind), Source: endpoint.Source, Prefix: c.Prefix, Username: username, Password: password,
		TLS: endpoint.TLS, CAFile: c.TLS.CAFile, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile,
	}))
}

// opened keeps a backend that was not opened from being one that is not nil.
func opened[B store.Backend](b B, err error) (store.Backend, error) {
	if err != nil {
		return nil, err
	}
	return b, nil
}

// credential reads a file that holds one line.
func credential(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	b = bytes.TrimRight(b, "\r\n")
	if len(b) == 0 {
		return "", fmt.Errorf("%s is empty", path)
	}
	return string(b), nil
}
