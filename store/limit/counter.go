// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"
	"k8s.io/klog/v2"
)

// Counter is a Meter for a store that others write to as well: it reads the
// keys below a prefix once, and follows a watch from there.
type Counter struct {
	client *etcdk8s.Client
	prefix string
	used   atomic.Int64
	known  atomic.Bool

	stop context.CancelFunc
	done chan struct{}
}

var _ Meter = (*Counter)(nil)

// countPage is how many objects one request reads, and recount how long a counter
// waits before it begins again.
const (
	countPage = 200
	recount   = 5 * time.Second
)

// NewCounter begins to count. It must be closed before the client is.
func NewCounter(ctx context.Context, client *etcdk8s.Client, prefix string) *Counter {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	c := &Counter{client: client, prefix: prefix, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.run(ctx)
	}()
	return c
}

// Close ends the counting.
func (c *Counter) Close() {
	c.stop()
	<-c.done
}

// Used implements Meter.
func (c *Counter) Used() (int64, bool) { return c.used.Load(), c.known.Load() }

// run counts until ctx ends. The last count stands while the store is away:
// then there are no writes either.
func (c *Counter) run(ctx context.Context) {
	for {
		rev, err := c.count(ctx)
		if err == nil {
			err = c.follow(ctx, rev)
		}
		if ctx.Err() != nil {
			return
		}
		klog.FromContext(ctx).Info("Counting the bytes of the store begins again", "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(recount):
		}
	}
}

// count reads everything below the prefix as of one revision, which it returns.
func (c *Counter) count(ctx context.Context) (rev int64, err error) {
	var sum int64
	page := etcdk8s.ListOptions{Limit: countPage}
	for {
		resp, err := c.client.Kubernetes.List(ctx, c.prefix, page)
		if err != nil {
			return 0, fmt.Errorf("read: %w", err)
		}
		if page.Revision == 0 {
			page.Revision = resp.Revision
		}
		for _, kv := range resp.Kvs {
			sum += size(kv)
		}
		if int64(len(resp.Kvs)) < countPage {
			c.used.Store(sum)
			c.known.Store(true)
			return page.Revision, nil
		}
		page.Continue = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

var errNoPrevious = errors.New("the store does not return the value that an update replaced")

// follow counts the changes after a revision until the watch ends.
func (c *Counter) follow(ctx context.Context, rev int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for resp := range c.client.Watch(ctx, c.prefix, clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithRev(rev+1)) {
		if err := resp.Err(); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		for _, e := range resp.Events {
			if e.PrevKv == nil && !e.IsCreate() {
				return errNoPrevious
			}
			if e.Type == mvccpb.Event_PUT {
				c.used.Add(size(e.Kv))
			}
			c.used.Add(-size(e.PrevKv))
		}
	}
	return errors.New("watch ended")
}

// size is the number of bytes that a key and its value count for.
func size(kv *mvccpb.KeyValue) int64 {
	if kv == nil {
		return 0
	}
	return int64(len(kv.Key) + len(kv.Value))
}
