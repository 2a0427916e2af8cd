// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"portico.dev/portico/certs"
)

// retry is how soon a failure is tried again.
const retry = time.Second

// Config says which certificates a Keeper keeps.
type Config struct {
	Dir string

	// Names returns those of the door now. [Keeper.Wake] says that they changed.
	Names func() certs.BundleOptions

	// Credentials returns those that replicas share, or nil while they are not
	// known. [Keeper.Wake] says that they changed. A nil function stands for the
	// directory's own.
	Credentials func() certs.Credentials

	// Publish writes the administrator's kubeconfig.
	Publish func(ctx context.Context, b *certs.Bundle) error

	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// Keeper keeps the certificates of one directory.
type Keeper struct {
	cfg  Config
	wake chan struct{}

	mu      sync.Mutex
	taken   certs.Credentials // that are in the directory
	current *certs.Bundle
	changed chan struct{} // closed with the next certificate of the administrator
}

// New issues the missing and due certificates. The caller must be the only one
// to use the directory.
func New(cfg Config) (*Keeper, error) {
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	k := &Keeper{cfg: cfg, wake: make(chan struct{}, 1), changed: make(chan struct{})}
	if cfg.Credentials != nil {
		var err error
		if k.taken, err = certs.LoadCredentials(cfg.Dir); err != nil {
			return nil, fmt.Errorf("read the credentials in %s: %w", cfg.Dir, err)
		}
	}
	_, err := k.ensure()
	return k, err
}

// Wake has the names and the credentials looked at again. It never blocks.
func (k *Keeper) Wake() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Current returns the certificates of now, and a channel that is closed when the
// administrator's is another one.
func (k *Keeper) Current() (b *certs.Bundle, changed <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current, k.changed
}

// Credentials returns those that are in use.
func (k *Keeper) Credentials() certs.Credentials {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.taken
}

// Run keeps the certificates until ctx ends. The kubeconfig is written when
// ready is closed, and then with each change.
func (k *Keeper) Run(ctx context.Context, ready <-chan struct{}) error {
	isReady, unpublished := false, true
	rounds := Rounds{Clock: k.cfg.Clock, Name: "door", Retry: retry, Wake: k.wake, Ready: ready}
	return rounds.Run(ctx, func(ctx context.Context) (time.Duration, error) {
		select {
		case <-ready:
			isReady = true
		default:
		}
		replaced, err := k.ensure()
		unpublished = unpublished || replaced
		if err != nil {
			return 0, err
		}
		b, _ := k.Current()
		if isReady && unpublished {
			if err := k.cfg.Publish(ctx, b); err != nil {
				return 0, err
			}
			unpublished = false
		}
		return b.Due.Sub(k.cfg.Clock.Now()), nil
	})
}

// ensure brings the directory up to date, and reports whether the
// administrator's certificate is another one.
func (k *Keeper) ensure() (replaced bool, err error) {
	if k.cfg.Credentials != nil {
		if err := k.take(k.cfg.Credentials()); err != nil {
			return false, fmt.Errorf("take the cluster's credentials: %w", err)
		}
	}
	b, err := certs.EnsureBundle(k.cfg.Dir, k.cfg.Names(), k.cfg.Clock.Now)
	if err != nil {
		return false, fmt.Errorf("certificates: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	replaced = k.current == nil || !bytes.Equal(k.current.Admin.CertPEM, b.Admin.CertPEM)
	if replaced && k.current != nil {
		close(k.changed)
		k.changed = make(chan struct{})
	}
	k.current = b
	return replaced, nil
}

// take makes credentials those of the directory, unless they are older ones.
func (k *Keeper) take(c certs.Credentials) error {
	taken := k.Credentials()
	if c == nil || c.Equal(taken) || c.Generation() < taken.Generation() {
		return nil
	}
	if err := c.Install(k.cfg.Dir); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.taken = c
	return nil
}
