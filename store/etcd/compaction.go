// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// compactionKey follows the prefix in the key that the processes of a cluster
// take turns by. Its version counts the turns, its value is the revision that
// the last one compacted to. No resource of the API has this name.
const compactionKey = "/portico.compaction"

// compactionTimeout bounds one turn.
const compactionTimeout = 30 * time.Second

// compaction gives up history, once per retention among all processes of a
// cluster: the first process to swap the key has the turn, all others learn how
// far it went.
type compaction struct {
	kv    clientv3.KV
	key   string
	noted func(rev int64)

	turn int64 // version of the key when we last saw it
	rev  int64 // revision of the store then; earlier ones are older than our last look
}

// run compacts until ctx ends. A turn that fails is taken again next time:
// history that lives on a little longer does no harm.
func (c *compaction) run(ctx context.Context, retention time.Duration) {
	_ = c.look(ctx)
	tick := time.NewTicker(retention)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		_ = c.take(ctx)
	}
}

// look learns of the turns of others.
func (c *compaction) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, compactionTimeout)
	defer cancel()
	resp, err := c.kv.Get(ctx, c.key)
	if err != nil {
		return err
	}
	c.see(resp, resp.Header.Revision)
	return nil
}

func (c *compaction) see(resp *clientv3.GetResponse, rev int64) {
	c.turn, c.rev = 0, rev
	if len(resp.Kvs) == 0 {
		return
	}
	c.turn = resp.Kvs[0].Version
	if rev, err := strconv.ParseInt(string(resp.Kvs[0].Value), 10, 64); err == nil {
		c.noted(rev)
	}
}

// take takes a turn, unless another process was faster.
func (c *compaction) take(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, compactionTimeout)
	defer cancel()
	if c.rev == 0 {
		return c.look(ctx)
	}
	to := c.rev
	resp, err := c.kv.Txn(ctx).
		If(clientv3.Compare(clientv3.Version(c.key), "=", c.turn)).
		Then(clientv3.OpPut(c.key, strconv.FormatInt(to, 10))).
		Else(clientv3.OpGet(c.key)).
		Commit()
	if err != nil {
		return err
	}
	if !resp.Succeeded {
		c.see((*clientv3.GetResponse)(resp.Responses[0].GetResponseRange()), resp.Header.Revision)
		return nil
	}
	c.turn, c.rev = c.turn+1, resp.Header.Revision
	if _, err := c.kv.Compact(ctx, to); errors.Is(err, rpctypes.ErrCompacted) {
		c.noted(to) // another cluster in the same etcd went further
	} else if err != nil {
		return err
	}
	return nil
}
