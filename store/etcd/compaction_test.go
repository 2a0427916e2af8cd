// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package etcd_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"portico.dev/portico/store/etcd"
	"portico.dev/portico/test/servers"
)

// Several processes of one cluster and a second cluster give up history
// together, and none gives up revisions newer than the retention.
func TestHistoryIsGivenUp(t *testing.T) {
	s := servers.Etcd(t, servers.EtcdOptions{})
	endpoints := []string{s.Address}
	var all []*etcd.Backend
	for _, prefix := range []string{"/portico/one", "/portico/one", "/portico/two"} {
		all = append(all, open(t, etcd.Options{Endpoints: endpoints, Prefix: prefix, Retention: 300 * time.Millisecond}))
	}
	kv := all[0].Client().KV
	first, err := kv.Put(t.Context(), "/portico/one/a", "1")
	if err != nil {
		t.Fatal(err)
	}
	last, err := kv.Put(t.Context(), "/portico/one/a", "2")
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range all {
		eventually(t, fmt.Sprintf("process %d knows that history was given up", i), func() error {
			if got := b.CompactRevision(); got < last.Header.Revision {
				return fmt.Errorf("compact revision is %d", got)
			}
			return nil
		})
	}
	if _, err := kv.Get(t.Context(), "/portico/one/a", clientv3.WithRev(first.Header.Revision)); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("read of the past: %v, want that it was compacted", err)
	}
	if now, err := kv.Get(t.Context(), "/portico/one/a"); err != nil || string(now.Kvs[0].Value) != "2" {
		t.Errorf("read of the present: %v, %v", now, err)
	}
}
