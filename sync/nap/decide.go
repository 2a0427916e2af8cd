// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nap

import (
	"fmt"
	"slices"
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
	// brief is how long a cluster stays awake that nobody wanted to use: it was
	// woken for work that is due.
	brief = 2 * time.Minute
	// late is the time of inactivity of one that is used between the time to sleep
	// and the time to wake.
	late = 10 * time.Minute
)

// situation is all that a decision depends on.
type situation struct {
	now, lastUse time.Time
	// began is the start of this process, and forWork says that it was for the
	// cluster's own work. Any other start is a use.
	began   time.Time
	forWork bool
	// after is the time of inactivity, and 0 where none ends in a sleep.
	after time.Duration
	// evening and morning are the last times at which it was to sleep and to wake,
	// and nextMorning is the next one. They are zero without such a schedule.
	evening, morning, nextMorning time.Time
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
	if !s.requested {
		if why := s.used(); why != "" {
			return time.Time{}, why
		}
	}
	if s.busy != "" {
		return time.Time{}, s.busy
	}
	wakeAt = s.now.Add(most)
	due := s.due
	if !s.nextMorning.IsZero() {
		due = append(slices.Clip(due), s.nextMorning)
	}
	for _, at := range due {
		if at = at.Add(-lead); at.Before(wakeAt) {
			wakeAt = at
		}
	}
	if wakeAt.Sub(s.now) < least {
		return time.Time{}, "a token, a certificate, a CronJob or the time to wake is due within minutes"
	}
	return wakeAt, ""
}

// used returns why a cluster stays awake that may be in use, and nothing for one
// that is not.
func (s situation) used() string {
	last := s.lastUse
	switch {
	case !s.forWork:
		last = latest(last, s.began)
	case s.now.Sub(s.began) < brief:
		return "it was woken for its own work a moment ago"
	}
	// A morning counts as a use, so that the cluster is there for those who come.
	last = latest(last, s.morning)
	night, quiet := s.evening.After(s.morning), s.after
	if night && !last.After(s.evening) {
		return "" // Nobody has used it since it was to sleep.
	}
	// One who works late is not sent to bed between two commands. A night without a
	// morning ends with the first who comes.
	if night && !s.nextMorning.IsZero() && (quiet == 0 || quiet > late) {
		quiet = late
	}
	if idle := s.now.Sub(last); quiet == 0 || idle < quiet {
		return fmt.Sprintf("it was used %s ago", max(idle, 0).Round(time.Second))
	}
	return ""
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
