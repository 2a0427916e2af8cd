// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
)

const (
	// Interval is how often each condition is looked at.
	Interval = 15 * time.Second
	// repeat is how often a warning is reported again. An API server keeps Events
	// for an hour.
	repeat = 30 * time.Minute
)

// ReasonReady is the reason of the Event with which a watcher begins.
const ReasonReady = "ClusterReady"

// Condition is something that can be wrong.
type Condition struct {
	// Reason is that of its Events, in upper camel case.
	Reason string
	// Problem names the trouble for an operator; "" means that there is none.
	// It does not wait for a network.
	Problem func(now time.Time) string
}

// Config has the conditions to look at, and the place for reports.
type Config struct {
	Conditions []Condition
	// About returns the host object that the Events are about.
	About func() *corev1.ObjectReference
	// Events writes to the host.
	Events record.EventRecorder
	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// Controller reports the conditions of one cluster.
type Controller struct {
	cfg   Config
	wrong map[string]*trouble // by reason
}

// trouble is a condition that is wrong.
type trouble struct{ since, reported time.Time }

// New returns a watcher that has not looked at anything.
func New(cfg Config) *Controller {
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	return &Controller{cfg: cfg, wrong: map[string]*trouble{}}
}

// Run reports that the cluster is ready, and then every change, until ctx ends.
// It is called once.
func (c *Controller) Run(ctx context.Context) error {
	c.cfg.Events.Event(c.cfg.About(), corev1.EventTypeNormal, ReasonReady, "The virtual cluster serves, and is kept in step with the host")
	ticker := c.cfg.Clock.NewTicker(Interval)
	defer ticker.Stop()
	for {
		c.look(c.cfg.Clock.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
	}
}

func (c *Controller) look(now time.Time) {
	for _, of := range c.cfg.Conditions {
		problem, before := of.Problem(now), c.wrong[of.Reason]
		switch {
		case problem == "" && before != nil:
			delete(c.wrong, of.Reason)
			c.cfg.Events.Event(c.cfg.About(), corev1.EventTypeNormal, of.Reason, fmt.Sprintf("This is over after %s", now.Sub(before.since).Round(time.Second)))
		case problem == "":
		case before == nil:
			c.wrong[of.Reason] = &trouble{since: now, reported: now}
			c.cfg.Events.Event(c.cfg.About(), corev1.EventTypeWarning, of.Reason, problem)
		case now.Sub(before.reported) >= repeat:
			before.reported = now
			c.cfg.Events.Event(c.cfg.About(), corev1.EventTypeWarning, of.Reason, problem)
		}
	}
}
