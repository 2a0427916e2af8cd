// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Package calendar finds the times of a schedule, as people write it for cron,
// on the clock of a time zone.
//
// It waits for nothing and does nothing at these times.
//
// # Invariants
//
//   - No time is lost or doubled by a change of the clock: one that a day does not
//     have comes at the end of the gap, and one that it has twice comes the first
//     time.
//   - The same text means the same on every machine: the time zones are part of
//     the program.
//
// # Map
//
//	calendar.go  Calendar: Parse, Next, Last
package calendar
