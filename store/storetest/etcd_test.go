// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package storetest_test

import (
	"testing"
	"time"

	"portico.dev/portico/store"
	"portico.dev/portico/store/etcd"
	"portico.dev/portico/store/storetest"
	"portico.dev/portico/test/servers"
)

// Each test has an etcd of its own: upstream's begin at the first revisions.
func openEtcd(t testing.TB, progress time.Duration) store.Backend {
	t.Helper()
	s := servers.Etcd(t, servers.EtcdOptions{Progress: progress})
	b, err := etcd.Open(t.Context(), etcd.Options{Endpoints: []string{s.Address}, Prefix: "/test", Retention: -1})
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

func TestEtcdStorage(t *testing.T) { storetest.RunStorage(t, openEtcd) }

func TestEtcdLimit(t *testing.T) { storetest.RunLimit(t, openEtcd, "/test") }
