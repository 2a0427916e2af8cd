// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mapservices

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
)

// FromHost shows a host Service as a virtual one.
type FromHost struct{ Host, Virtual types.NamespacedName }

// FromVirtual offers a virtual Service under a name in the cluster's host
// namespace.
type FromVirtual struct {
	Virtual types.NamespacedName
	Host    string
}

// Config says which Services are mapped, and where they are.
type Config struct {
	Translator *rewrite.Translator
	Virtual    kubernetes.Interface
	Informers  informers.SharedInformerFactory // of the virtual cluster
	Host       kubernetes.Interface            // with the rights of each host namespace that is named

	FromHost    []FromHost
	FromVirtual []FromVirtual

	// VirtualEvents report to the tenant, HostEvents to the operator.
	VirtualEvents, HostEvents record.EventRecorder
	// Clock is nil for the real one.
	Clock clock.WithTicker
}

// Controller keeps the mapped Services.
type Controller struct {
	fromHost    []*fromHost
	fromVirtual *fromVirtual
	leftovers   *leftovers
}

// New returns a Controller. It registers with the informers, so it must be
// called before they are relied on.
func New(cfg Config) (*Controller, error) {
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	c := &Controller{leftovers: newLeftovers(&cfg)}
	var errs []error
	for _, m := range cfg.FromHost {
		shown, err := newFromHost(&cfg, m)
		if err != nil {
			errs = append(errs, fmt.Errorf("map host Service %s: %w", m.Host, err))
			continue
		}
		c.fromHost = append(c.fromHost, shown)
	}
	if len(cfg.FromVirtual) > 0 {
		var err error
		if c.fromVirtual, err = newFromVirtual(&cfg); err != nil {
			errs = append(errs, fmt.Errorf("map virtual Services: %w", err))
		}
	}
	return c, errors.Join(errs...)
}

// Run works until ctx ends. The error is always nil.
func (c *Controller) Run(ctx context.Context) error {
	// Each has a loop of its own, which waits for its own part of the host.
	var running sync.WaitGroup
	running.Go(func() { c.leftovers.run(ctx) })
	for _, m := range c.fromHost {
		running.Go(func() { m.run(ctx) })
	}
	if c.fromVirtual != nil {
		running.Go(func() { c.fromVirtual.run(ctx) })
	}
	running.Wait()
	return nil
}
