// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"testing"
	"time"

	"portico.dev/portico/store/sqlite"
)

// waitFor waits for something that happens in the background.
func waitFor(t testing.TB, done func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatal("did not happen in time")
		case <-tick.C:
		}
	}
}

func rows(t testing.TB, e *sqlite.Engine) int64 {
	t.Helper()
	n, err := e.Rows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func freePages(t testing.TB, e *sqlite.Engine) int64 {
	t.Helper()
	n, err := e.FreePages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}
