// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package etcdclient

import (
	"bytes"
	"context"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"

	"portico.dev/portico/store/mvcc"
)

// k8s implements the interface that upstream's etcd3 storage calls for each
// request to the API.
type k8s struct {
	engine Engine
}

var _ etcdk8s.Interface = (*k8s)(nil)

func (k *k8s) Get(ctx context.Context, key string, opts etcdk8s.GetOptions) (resp etcdk8s.GetResponse, err error) {
	if err := ctx.Err(); err != nil {
		return resp, err
	}
	view, err := k.engine.Index().View().At(opts.Revision)
	if err != nil {
		return resp, err
	}
	resp.KV, resp.Revision = view.Get(key), view.Current()
	return resp, view.Err()
}

// List implements kubernetes.Interface. As upstream does, it counts from the
// continue key on, which is how callers know whether there is more.
func (k *k8s) List(ctx context.Context, prefix string, opts etcdk8s.ListOptions) (resp etcdk8s.ListResponse, err error) {
	if err := ctx.Err(); err != nil {
		return resp, err
	}
	view, err := k.engine.Index().View().At(opts.Revision)
	if err != nil {
		return resp, err
	}
	start := prefix
	if opts.Continue != "" {
		start = opts.Continue
	}
	resp.Kvs, resp.Count = view.Range(start, clientv3.GetPrefixRangeEnd(prefix), opts.Limit)
	resp.Revision = view.Current()
	return resp, view.Err()
}

func (k *k8s) Count(ctx context.Context, prefix string, _ etcdk8s.CountOptions) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	view := k.engine.Index().View()
	return view.Count(prefix, clientv3.GetPrefixRangeEnd(prefix)), view.Err()
}

func (k *k8s) OptimisticPut(ctx context.Context, key string, value []byte, expected int64, opts etcdk8s.PutOptions) (etcdk8s.PutResponse, error) {
	value = bytes.Clone(value)
	o, err := k.swap(ctx, key, expected, func(t *mvcc.Tx) error {
		_, _, err := t.Put(key, value, int64(opts.LeaseID))
		return err
	})
	if err != nil {
		return etcdk8s.PutResponse{}, err
	}
	resp := etcdk8s.PutResponse{Succeeded: o.succeeded, Revision: o.rev}
	if !o.succeeded && opts.GetOnFailure {
		resp.KV = o.current
	}
	return resp, nil
}

func (k *k8s) OptimisticDelete(ctx context.Context, key string, expected int64, opts etcdk8s.DeleteOptions) (etcdk8s.DeleteResponse, error) {
	o, err := k.swap(ctx, key, expected, func(t *mvcc.Tx) error {
		t.Delete(key)
		return nil
	})
	if err != nil {
		return etcdk8s.DeleteResponse{}, err
	}
	resp := etcdk8s.DeleteResponse{Succeeded: o.succeeded, Revision: o.rev}
	if !o.succeeded && opts.GetOnFailure {
		resp.KV = o.current
	}
	return resp, nil
}

// outcome of a compare-and-swap.
type outcome struct {
	succeeded bool
	rev       int64
	current   *mvccpb.KeyValue // the key as found
}

// swap runs change if key was last changed at the expected revision.
func (k *k8s) swap(ctx context.Context, key string, expected int64, change func(*mvcc.Tx) error) (outcome, error) {
	if key == "" {
		return outcome{}, rpctypes.ErrEmptyKey
	}
	// A write that fails already against the published state has failed: that
	// is a valid moment for it to have happened, and it spares the queue the
	// retries of busy objects.
	view := k.engine.Index().View()
	if current := view.Get(key); revisionOf(current) != expected {
		return outcome{rev: view.Current(), current: current}, ctx.Err()
	}
	// Written by the writer goroutine, and read only if it has answered.
	var found outcome
	rev, err := k.engine.Update(ctx, func(t *mvcc.Tx) error {
		found.current = t.Get(key)
		if revisionOf(found.current) != expected {
			return nil
		}
		found.succeeded = true
		return change(t)
	})
	if err != nil {
		return outcome{}, err
	}
	found.rev = rev
	return found, nil
}

// revisionOf is 0 for a key that does not exist, as etcd compares it.
func revisionOf(kv *mvccpb.KeyValue) int64 {
	if kv == nil {
		return 0
	}
	return kv.ModRevision
}
