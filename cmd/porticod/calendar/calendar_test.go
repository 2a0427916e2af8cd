// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package calendar

import (
	"strings"
	"testing"
	"time"
)

func utc(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestNextAndLast(t *testing.T) {
	const berlin, lordHowe, apia = "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia"
	for name, c := range map[string]struct {
		schedule, zone   string
		now              string
		last, next, then string // in UTC; then is after next
	}{
		"every day":         {"0 20 * * *", "", "2030-01-01 12:00", "2029-12-31 20:00", "2030-01-01 20:00", "2030-01-02 20:00"},
		"at this moment":    {"0 12 * * *", "", "2030-01-01 12:00", "2030-01-01 12:00", "2030-01-02 12:00", "2030-01-03 12:00"},
		"a word":            {"@daily", berlin, "2030-01-01 12:00", "2029-12-31 23:00", "2030-01-01 23:00", "2030-01-02 23:00"},
		"every minute":      {"* * * * *", berlin, "2030-01-01 12:00", "2030-01-01 12:00", "2030-01-01 12:01", "2030-01-01 12:02"},
		"on working days":   {"0 20 * * 1-5", berlin, "2030-01-05 12:00", "2030-01-04 19:00", "2030-01-07 19:00", "2030-01-08 19:00"},
		"in leap years":     {"0 0 29 2 *", "", "2030-01-01 12:00", "2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00"},
		"in another summer": {"0 20 * * *", "America/New_York", "2030-07-01 12:00", "2030-07-01 00:00", "2030-07-02 00:00", "2030-07-03 00:00"},

		// At 02:00 of the 31st of March 2030 the clocks of Berlin show 03:00.
		"before the clock goes forward": {"0 8 * * *", berlin, "2030-03-30 12:00", "2030-03-30 07:00", "2030-03-31 06:00", "2030-04-01 06:00"},
		"at a time that the day lacks":  {"30 2 * * *", berlin, "2030-03-30 12:00", "2030-03-30 01:30", "2030-03-31 01:00", "2030-04-01 00:30"},
		"right after one that it lacks": {"30 2 * * *", berlin, "2030-03-31 01:10", "2030-03-31 01:00", "2030-04-01 00:30", "2030-04-02 00:30"},
		"twice in the hour it lacks":    {"0,30 2,3 31 3 *", berlin, "2030-03-31 00:00", "2029-03-31 01:30", "2030-03-31 01:00", "2030-03-31 01:30"},
		// At 03:00 of the 27th of October 2030 they show 02:00.
		"at a time that comes twice":       {"30 2 * * *", berlin, "2030-10-26 12:00", "2030-10-26 00:30", "2030-10-27 00:30", "2030-10-28 01:30"},
		"between the two":                  {"30 2 * * *", berlin, "2030-10-27 01:00", "2030-10-27 00:30", "2030-10-28 01:30", "2030-10-29 01:30"},
		"after the clock has gone back":    {"0 8 * * *", berlin, "2030-10-27 01:00", "2030-10-26 06:00", "2030-10-27 07:00", "2030-10-28 07:00"},
		"a clock that goes by half hours":  {"15 2 * * *", lordHowe, "2030-10-05 12:00", "2030-10-04 15:45", "2030-10-05 15:30", "2030-10-06 15:15"},
		"a day that an island did not see": {"0 8 * * *", apia, "2011-12-29 20:00", "2011-12-29 18:00", "2011-12-30 10:00", "2011-12-30 18:00"},
	} {
		t.Run(name, func(t *testing.T) {
			cal, err := Parse(c.schedule, c.zone)
			if err != nil {
				t.Fatal(err)
			}
			now := utc(c.now)
			if got := cal.Last(now); !got.Equal(utc(c.last)) {
				t.Errorf("the last before %s: %s, want %s", now, got, c.last)
			}
			next := cal.Next(now)
			if !next.Equal(utc(c.next)) {
				t.Errorf("the next after %s: %s, want %s", now, next, c.next)
			}
			if got := cal.Next(next); !got.Equal(utc(c.then)) {
				t.Errorf("the one after that: %s, want %s", got, c.then)
			}
			if got := cal.Last(next); !got.Equal(next) {
				t.Errorf("the last at %s: %s", next, got)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct{ schedule, zone, says string }{
		"nothing":                {"", "", "minute, hour"},
		"four fields":            {"0 20 * *", "", "expected exactly 5 fields"},
		"seconds":                {"0 0 20 * * *", "", "expected exactly 5 fields"},
		"an hour too late":       {"0 24 * * *", "", "above maximum"},
		"an interval":            {"@every 1h", "", "minute, hour"},
		"a zone in it":           {"TZ=UTC 0 20 * * *", "", "a field of its own"},
		"a day that never is":    {"0 0 30 2 *", "", "no day"},
		"a zone that is nowhere": {"0 20 * * *", "Moon/Tycho", "unknown time zone"},
		"the machine's zone":     {"0 20 * * *", "Local", "unknown time zone"},
		"a file":                 {"0 20 * * *", "../../etc/passwd", "invalid"},
	} {
		if _, err := Parse(c.schedule, c.zone); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}
