// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package etcdclient_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"
	"go.uber.org/goleak"

	"portico.dev/portico/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func client(t *testing.T) *etcdk8s.Client {
	t.Helper()
	e, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir(), Durability: sqlite.Normal})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e.Client()
}

func put(t *testing.T, c *etcdk8s.Client, keysAndValues ...string) {
	t.Helper()
	for i := 0; i < len(keysAndValues); i += 2 {
		if _, err := c.KV.Put(t.Context(), keysAndValues[i], keysAndValues[i+1]); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRangeOptions(t *testing.T) {
	c := client(t)
	put(t, c, "a", "3", "b", "2", "c", "1", "a", "9") // revisions 2 to 5
	cases := map[string]struct {
		key   string
		opts  []clientv3.OpOption
		want  []string
		count int64
		more  bool
	}{
		"one key":             {"b", nil, []string{"b=2"}, 1, false},
		"no such key":         {"x", nil, nil, 0, false},
		"everything":          {"", []clientv3.OpOption{clientv3.WithPrefix()}, []string{"a=9", "b=2", "c=1"}, 3, false},
		"from a key on":       {"b", []clientv3.OpOption{clientv3.WithFromKey()}, []string{"b=2", "c=1"}, 2, false},
		"empty range":         {"b", []clientv3.OpOption{clientv3.WithRange("a")}, nil, 0, false},
		"limit":               {"a", []clientv3.OpOption{clientv3.WithFromKey(), clientv3.WithLimit(2)}, []string{"a=9", "b=2"}, 3, true},
		"limit is enough":     {"a", []clientv3.OpOption{clientv3.WithFromKey(), clientv3.WithLimit(3)}, []string{"a=9", "b=2", "c=1"}, 3, false},
		"keys only":           {"a", []clientv3.OpOption{clientv3.WithFromKey(), clientv3.WithKeysOnly()}, []string{"a=", "b=", "c="}, 3, false},
		"count only":          {"a", []clientv3.OpOption{clientv3.WithFromKey(), clientv3.WithCountOnly()}, nil, 3, false},
		"in the past":         {"a", []clientv3.OpOption{clientv3.WithRev(4)}, []string{"a=3"}, 1, false},
		"by value":            {"a", []clientv3.OpOption{clientv3.WithFromKey(), clientv3.WithSort(clientv3.SortByValue, clientv3.SortAscend)}, []string{"c=1", "b=2", "a=9"}, 3, false},
		"last change":         {"", clientv3.WithLastRev(), []string{"a=9"}, 3, true},
		"first created":       {"", clientv3.WithFirstCreate(), []string{"a=9"}, 3, true},
		"last key":            {"", clientv3.WithLastKey(), []string{"c=1"}, 3, true},
		"changed since":       {"a", []clientv3.OpOption{clientv3.WithFromKey(), clientv3.WithMinModRev(4)}, []string{"a=9", "c=1"}, 3, false},
		"created before":      {"a", []clientv3.OpOption{clientv3.WithFromKey(), clientv3.WithMaxCreateRev(3)}, []string{"a=9", "b=2"}, 3, false},
		"changed before":      {"a", []clientv3.OpOption{clientv3.WithFromKey(), clientv3.WithMaxModRev(3)}, []string{"b=2"}, 3, false},
		"serializable, alike": {"b", []clientv3.OpOption{clientv3.WithSerializable()}, []string{"b=2"}, 1, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			resp, err := c.KV.Get(t.Context(), tc.key, tc.opts...)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, kv := range resp.Kvs {
				got = append(got, string(kv.Key)+"="+string(kv.Value))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if resp.Count != tc.count || resp.More != tc.more || resp.Header.Revision != 5 {
				t.Errorf("count %d, more %v at %d, want %d, %v at 5", resp.Count, resp.More, resp.Header.Revision, tc.count, tc.more)
			}
		})
	}
}

// Upstream compares these errors with errors.Is.
func TestErrors(t *testing.T) {
	c, ctx := client(t), t.Context()
	put(t, c, "a", "1", "a", "2", "a", "3")
	if _, err := c.KV.Compact(ctx, 3); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	ignore := func(_ any, err error) error { return err }
	first := func(stream clientv3.GetStreamChan, err error) error {
		if err != nil {
			return fmt.Errorf("not of the stream: %v", err) //nolint:errorlint // It must not match.
		}
		chunk := <-stream
		return chunk.Err()
	}
	for name, tc := range map[string]struct{ got, want error }{
		"get of the compacted":    {ignore(c.KV.Get(ctx, "a", clientv3.WithRev(2))), rpctypes.ErrCompacted},
		"stream of the compacted": {first(c.GetStream(ctx, "a", clientv3.WithRev(2))), rpctypes.ErrCompacted},
		"list of the compacted":   {ignore(c.Kubernetes.List(ctx, "a", etcdk8s.ListOptions{Revision: 2})), rpctypes.ErrCompacted},
		"get of the future":       {ignore(c.KV.Get(ctx, "a", clientv3.WithRev(9))), rpctypes.ErrFutureRev},
		"stream of the future":    {first(c.GetStream(ctx, "a", clientv3.WithRev(9))), rpctypes.ErrFutureRev},
		"list of the future":      {ignore(c.Kubernetes.List(ctx, "a", etcdk8s.ListOptions{Revision: 9})), rpctypes.ErrFutureRev},
		"put without a key":       {ignore(c.KV.Put(ctx, "", "1")), rpctypes.ErrEmptyKey},
		"no such lease":           {ignore(c.KV.Put(ctx, "a", "1", clientv3.WithLease(5))), rpctypes.ErrLeaseNotFound},
		"revocation of no lease":  {ignore(c.Revoke(ctx, 5)), rpctypes.ErrLeaseNotFound},
		"renewal of no lease":     {ignore(c.KeepAliveOnce(ctx, 5)), rpctypes.ErrLeaseNotFound},
		"endless lease":           {ignore(c.Grant(ctx, 1<<60)), rpctypes.ErrLeaseTTLTooLarge},
		"value of no key":         {ignore(c.KV.Put(ctx, "x", "", clientv3.WithIgnoreValue())), rpctypes.ErrKeyNotFound},
		"get, cancelled":          {ignore(c.Kubernetes.Get(cancelled, "a", etcdk8s.GetOptions{})), context.Canceled},
		"put, cancelled":          {ignore(c.KV.Put(cancelled, "a", "1")), context.Canceled},
	} {
		if !errors.Is(tc.got, tc.want) {
			t.Errorf("%s: got %v, want %v", name, tc.got, tc.want)
		}
	}
}

// The store keeps its own copy: upstream reuses buffers.
func TestValuesAreCopied(t *testing.T) {
	c, ctx := client(t), t.Context()
	value := []byte("before")
	if _, err := c.Kubernetes.OptimisticPut(ctx, "a", value, 0, etcdk8s.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	copy(value, "after!")
	resp, err := c.Kubernetes.Get(ctx, "a", etcdk8s.GetOptions{})
	if err != nil || string(resp.KV.Value) != "before" {
		t.Errorf("got %v, %v", resp.KV, err)
	}
}

func TestKeepAlive(t *testing.T) {
	c := client(t)
	ctx, cancel := context.WithCancel(t.Context())
	lease, err := c.Grant(ctx, 60)
	if err != nil {
		t.Fatal(err)
	}
	alive, err := c.KeepAlive(ctx, lease.ID)
	if err != nil {
		t.Fatal(err)
	}
	if r := <-alive; r.ID != lease.ID || r.TTL != 60 {
		t.Errorf("got %+v", r)
	}
	left, err := c.TimeToLive(ctx, lease.ID)
	if err != nil || left.TTL < 50 || left.GrantedTTL != 60 {
		t.Errorf("got %+v, %v", left, err)
	}
	cancel()
	for range alive { // ends with its context
	}
}

func TestStatus(t *testing.T) {
	c := client(t)
	put(t, c, "a", "1")
	s, err := c.Status(t.Context(), "")
	if err != nil || s.Header.Revision != 2 || s.DbSize == 0 || s.Version == "" {
		t.Errorf("got %+v, %v", s, err)
	}
}
