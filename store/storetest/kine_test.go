// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package storetest_test

import (
	"fmt"
	"testing"
	"time"

	"portico.dev/portico/store"
	"portico.dev/portico/store/kine"
	"portico.dev/portico/store/storetest"
	"portico.dev/portico/test/servers"
)

// openKine returns databases of one server, a new one for each test.
func openKine(database kine.Database, s *servers.Server, source string) storetest.Open {
	n := 0
	return func(t testing.TB, progress time.Duration) store.Backend {
		t.Helper()
		n++
		b, err := kine.Open(t.Context(), kine.Options{
			Database: database, Source: fmt.Sprintf(source, s.Address, n), Prefix: "/test", Retention: -1,
			// Upstream waits 150 ms for an event.
			PollInterval: 10 * time.Millisecond,
			Username:     servers.SQLUser, Password: servers.SQLPassword,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := b.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		return b
	}
}

func TestPostgreSQLStorage(t *testing.T) {
	s := servers.PostgreSQL(t, servers.SQLOptions{})
	storetest.RunStorage(t, openKine(kine.PostgreSQL, s, "%s/test%d"))
}

func TestPostgreSQLLimit(t *testing.T) {
	s := servers.PostgreSQL(t, servers.SQLOptions{})
	storetest.RunLimit(t, openKine(kine.PostgreSQL, s, "%s/test%d"), "/test")
}

func TestMariaDBStorage(t *testing.T) {
	s := servers.MariaDB(t, servers.SQLOptions{})
	storetest.RunStorage(t, openKine(kine.MySQL, s, "tcp(%s)/test%d"))
}

func TestMariaDBLimit(t *testing.T) {
	s := servers.MariaDB(t, servers.SQLOptions{})
	storetest.RunLimit(t, openKine(kine.MySQL, s, "tcp(%s)/test%d"), "/test")
}
