// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package storetest_test

import (
	"testing"
	"time"

	"portico.dev/portico/store"
	"portico.dev/portico/store/sqlite"
	"portico.dev/portico/store/storetest"
)

func openSQLite(t testing.TB, progress time.Duration) store.Backend {
	t.Helper()
	e, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir(), ProgressInterval: progress, Retention: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return e
}

func TestSQLiteStorage(t *testing.T) { storetest.RunStorage(t, openSQLite) }
