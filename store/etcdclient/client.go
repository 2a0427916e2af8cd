// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package etcdclient

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"

	"portico.dev/portico/store/mvcc"
)

// Engine is a store that keeps an mvcc.Index durable.
type Engine interface {
	// Index answers reads and watches.
	Index() *mvcc.Index
	// Update runs a transaction at the tip of the store; it is durable and
	// visible when Update returns nil. It returns the store's revision then.
	Update(ctx context.Context, fn func(*mvcc.Tx) error) (int64, error)
	// Compact gives up history up to and including a revision.
	Compact(ctx context.Context, rev int64) error
	// Size returns the bytes taken on disk.
	Size() int64
}

// New returns a client of the engine. Its watches end with ctx.
func New(ctx context.Context, e Engine) *etcdk8s.Client {
	c := clientv3.NewCtxClient(ctx)
	c.KV = newKV(e)
	c.Watcher = &watcher{ctx: c.Ctx(), index: e.Index()}
	c.Lease = &lease{engine: e}
	c.Maintenance = maintenance{engine: e}
	return &etcdk8s.Client{Client: c, Kubernetes: &k8s{engine: e}}
}

func header(rev int64) *pb.ResponseHeader { return &pb.ResponseHeader{Revision: rev} }
