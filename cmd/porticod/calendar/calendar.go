// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package calendar

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // Images without files of time zones, also for CronJobs of tenants.

	"github.com/robfig/cron/v3"
)

// Calendar is a schedule in a time zone.
type Calendar struct {
	schedule cron.Schedule
	zone     *time.Location
}

// Parse reads a schedule of five fields, such as "0 20 * * 1-5", or a word such
// as "@daily". The zone is a name of the IANA's, and UTC when empty.
func Parse(schedule, zone string) (*Calendar, error) {
	location, err := Zone(zone)
	if err != nil {
		return nil, err
	}
	if strings.Contains(schedule, "TZ=") {
		return nil, errors.New("a schedule has no time zone in it: it has a field of its own")
	}
	parsed, err := cron.ParseStandard(strings.TrimSpace(schedule)) // As for a CronJob.
	if _, interval := parsed.(cron.ConstantDelaySchedule); interval {
		err = errors.New("an interval has no place on a clock")
	}
	if err != nil {
		return nil, fmt.Errorf("minute, hour, day, month and day of the week, such as \"0 20 * * 1-5\": %w", err)
	}
	// The library looks for a time in the next five years.
	if parsed.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, errors.New("no day is one of this schedule")
	}
	return &Calendar{parsed, location}, nil
}

// Zone returns a time zone by its name, and UTC without one. "Local" is none: it
// would be the machine's.
func Zone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, errors.New("unknown time zone Local")
	}
	return time.LoadLocation(name)
}

// Next returns the first time after t, and zero if there is none in years.
func (c *Calendar) Next(t time.Time) (next time.Time) {
	c.walk(t, func(at time.Time) bool {
		next = at
		return false
	})
	return next
}

// walk visits the times after t, in order, as long as visit returns true.
func (c *Calendar) walk(t time.Time, visit func(at time.Time) bool) {
	// The clock may have gone back, by a day at most.
	for face := c.schedule.Next(c.face(t).Add(-25 * time.Hour)); !face.IsZero(); face = c.schedule.Next(face) {
		// Two times that the clock does not show come at once, at the end of the gap.
		if at := c.at(face); at.After(t) {
			if !visit(at) {
				return
			}
			t = at
		}
	}
}

// spans are how far back Last looks, in steps, because the library looks forward
// only. A 29th of February may be eight years ago, around 2100.
var spans = []time.Duration{time.Hour, 25 * time.Hour, 8 * 24 * time.Hour, 32 * 24 * time.Hour, 370 * 24 * time.Hour, 3000 * 24 * time.Hour}

// Last returns the last time that is not after t, and zero if there was none in
// years.
func (c *Calendar) Last(t time.Time) time.Time {
	for _, span := range spans {
		var last time.Time
		c.walk(t.Add(-span), func(at time.Time) bool {
			if at.After(t) {
				return false
			}
			last = at
			return true
		})
		if !last.IsZero() {
			return last
		}
	}
	return time.Time{}
}

// face is what the clock of the zone shows, written as if it were in UTC, where
// every day has 24 hours.
func (c *Calendar) face(t time.Time) time.Time {
	_, offset := t.In(c.zone).Zone()
	return t.Add(time.Duration(offset) * time.Second).UTC()
}

// at returns the first time at which the clock shows face, and the end of the gap
// if it never does.
func (c *Calendar) at(face time.Time) time.Time {
	// With the offset of the day before.
	_, offset := face.Add(-24 * time.Hour).In(c.zone).Zone()
	before := face.Add(-time.Duration(offset) * time.Second)
	if c.face(before).Equal(face) {
		return before
	}
	y, m, d := face.Date()
	if t := time.Date(y, m, d, face.Hour(), face.Minute(), face.Second(), 0, c.zone); c.face(t).Equal(face) {
		return t.UTC()
	}
	end, _ := before.In(c.zone).ZoneBounds()
	return end.UTC()
}
