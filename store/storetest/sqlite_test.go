// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package storetest_test

import (
	"flag"
	"fmt"
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

var (
	modelSeeds = flag.Int("model-seeds", 8, "how many random sequences TestSQLiteModel plays")
	modelSteps = flag.Int("model-steps", 1500, "how long each of them is")
)

func TestSQLiteModel(t *testing.T) {
	for seed := range *modelSeeds {
		t.Run(fmt.Sprintf("Seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			options := sqlite.Options{Dir: t.TempDir(), Retention: -1, Durability: sqlite.Normal}
			var e *sqlite.Engine
			t.Cleanup(func() {
				if err := e.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			storetest.RunModel(t, uint64(seed), *modelSteps, func() store.Backend {
				if e != nil {
					if err := e.Close(); err != nil {
						t.Fatal(err)
					}
				}
				var err error
				if e, err = sqlite.Open(t.Context(), options); err != nil {
					t.Fatal(err)
				}
				return e
			})
		})
	}
}
