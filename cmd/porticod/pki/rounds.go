// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"context"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

const (
	// Look is how often certificates are looked at, at least: a timer knows
	// nothing of a machine that slept, or whose clock was set.
	Look = time.Hour
	// rest is between two rounds where certificates are always due, as those of an
	// authority whose end is near.
	rest = time.Minute
)

// Rounds keeps certificates in order, one round after another. A failure is
// logged and tried again: certificates are issued months before their end.
type Rounds struct {
	Clock clock.WithTicker
	// Name is that of the certificates in the log.
	Name string
	// Retry is the time after a failure.
	Retry time.Duration
	// Wake begins a round with each value, and Ready one when it is closed. Both
	// may be nil.
	Wake, Ready <-chan struct{}
}

// Run calls round until ctx ends. A round returns the time until the next one,
// which is at least a minute and at most Look.
func (r Rounds) Run(ctx context.Context, round func(context.Context) (time.Duration, error)) error {
	ready := r.Ready
	for {
		pause, err := round(ctx)
		pause = min(max(pause, rest), Look)
		if err != nil {
			pause = r.Retry
			if ctx.Err() == nil {
				klog.FromContext(ctx).Error(err, "Certificates are not as they should be; those of before are in use", "certificates", r.Name)
			}
		}
		timer := r.Clock.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C():
		case <-r.Wake:
		case <-ready:
			ready = nil
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}
