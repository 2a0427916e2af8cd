// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package mapservices

import (
	"context"
	"sync"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// sayAgain is how often a mapping that does not work is reported again. Events
// live for an hour.
const sayAgain = 30 * time.Minute

// trouble is why a mapping does not work; the zero value says that it does.
type trouble struct{ reason, message string }

// Reasons of Events.
const (
	reasonMissing    = "MappedServiceMissing"
	reasonTaken      = "MappedServiceNameTaken"
	reasonForbidden  = "MappedServiceForbidden"
	reasonExternal   = "MappedServiceExternalName"
	reasonNoSelector = "MappedServiceNoSelector"
)

// report makes the Events of one mapping: when it stops to work, again while
// that lasts, and when it works.
type report struct {
	clock clock.PassiveClock
	// which has the two ends, for the log.
	which []any
	// announce makes the Event, and reports whether there is a place for it.
	announce func(trouble) bool

	mu           sync.Mutex
	last         trouble
	at           time.Time // of last
	logged, told bool      // last has been
}

// say reports t if it is new or long ago, and returns after which time it has to
// be said again, if it lasts.
func (r *report) say(ctx context.Context, t trouble) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, log := r.clock.Now(), klog.FromContext(ctx)
	works := t == trouble{}
	if t != r.last || !works && now.Sub(r.at) >= sayAgain {
		r.last, r.at, r.logged, r.told = t, now, false, false
	}
	r.told = r.told || works || r.announce(t)
	if !r.logged && works {
		log.Info("Service is mapped", r.which...)
	} else if !r.logged {
		log.Info("Service is not mapped", append([]any{"reason", t.reason, "message", t.message}, r.which...)...)
	}
	r.logged = true
	if works {
		return 0
	}
	return max(r.at.Add(sayAgain).Sub(now), time.Second)
}
