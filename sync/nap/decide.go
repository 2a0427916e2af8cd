// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nap

import (
	"fmt"
	"time"
)

const (
	// lead is how long before its work a cluster is woken.
	lead = 30 * time.Second
	// least is the shortest sleep that is worth its end.
	least = 3 * time.Minute
	// most is well below the rest of the life of every certificate of a control
	// plane that has just renewed them.
	most = 24 * time.Hour
)

// situation is all that a decision depends on.
type situation struct {
	now, lastUse time.Time
	after        time.Duration
	// requested says that a person wants it to sleep now.
	requested bool
	// busy is the work that goes on, in words.
	busy string
	// due are the times of work to come.
	due []time.Time
}

// decide returns when a cluster has to wake that may sleep now, or why it may
// not.
func (s situation) decide() (wakeAt time.Time, why string) {
	if idle := s.now.Sub(s.lastUse); !s.requested && idle < s.after {
		return time.Time{}, fmt.Sprintf("it was used %s ago", max(idle, 0).Round(time.Second))
	}
	if s.busy != "" {
		return time.Time{}, s.busy
	}
	wakeAt = s.now.Add(most)
	for _, at := range s.due {
		if at = at.Add(-lead); at.Before(wakeAt) {
			wakeAt = at
		}
	}
	if wakeAt.Sub(s.now) < least {
		return time.Time{}, "a token, a certificate or a CronJob is due within minutes"
	}
	return wakeAt, ""
}
