// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package etcdclient

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"

	"portico.dev/portico/store/mvcc"
)

// watcher implements clientv3.Watcher.
type watcher struct {
	ctx   context.Context // of the client: all watches end with it
	index *mvcc.Index
}

var _ clientv3.Watcher = (*watcher)(nil)

// Watch implements clientv3.Watcher. It has registered when it returns, so no
// later change is missed.
func (w *watcher) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	op := clientv3.OpWatch(key, opts...)
	registered := w.index.Watch(mvcc.WatchOptions{
		Start:    string(op.KeyBytes()),
		End:      string(op.RangeBytes()),
		Revision: op.Rev(),
		Stream:   streamOf(ctx),
		Progress: op.IsProgressNotify(),
	})
	responses := make(chan clientv3.WatchResponse, 1)
	go w.serve(ctx, op, registered, responses)
	return responses
}

// serve moves the events of a watch into its channel until either side ends.
func (w *watcher) serve(ctx context.Context, op clientv3.Op, from *mvcc.Watcher, to chan<- clientv3.WatchResponse) {
	defer close(to)
	defer from.Close()
	send := func(r clientv3.WatchResponse) bool {
		select {
		case to <- r:
			return true
		case <-ctx.Done():
		case <-w.ctx.Done():
		}
		return false
	}
	stop := context.AfterFunc(w.ctx, from.Close)
	defer stop()
	if op.IsCreatedNotify() && !send(clientv3.WatchResponse{Header: header(w.index.Revision()), Created: true}) {
		return
	}
	for {
		b, err := from.Next(ctx)
		if err != nil {
			return
		}
		r := clientv3.WatchResponse{Header: header(b.Revision)}
		if b.CompactRevision == 0 && !b.Progress {
			r.Events = events(op, b.Versions)
			if from.Compacted(b) {
				// The previous values may have gone while they were read.
				b.CompactRevision = w.index.CompactRevision() + 1
			} else if len(r.Events) == 0 {
				continue // all filtered; to send it would look like progress
			}
		}
		if b.CompactRevision != 0 {
			send(clientv3.WatchResponse{Header: r.Header, CompactRevision: b.CompactRevision, Canceled: true})
			return
		}
		if !send(r) {
			return
		}
	}
}

func events(op clientv3.Op, versions []*mvcc.Version) []*clientv3.Event {
	out := make([]*clientv3.Event, 0, len(versions))
	for _, v := range versions {
		if v.Deleted && op.IsFilterDelete() || !v.Deleted && op.IsFilterPut() {
			continue
		}
		e := &clientv3.Event{Type: mvccpb.Event_PUT, Kv: v.KV}
		if v.Deleted {
			e.Type = mvccpb.Event_DELETE
		}
		if op.IsPrevKV() {
			if prev := v.Prev(); prev != nil && !prev.Deleted {
				e.PrevKv = prev.KV
			}
		}
		out = append(out, e)
	}
	return out
}

// RequestProgress implements clientv3.Watcher. Like the etcd client it reaches
// the watches that were started with the same outgoing metadata, which is how
// upstream addresses those of one resource.
func (w *watcher) RequestProgress(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.index.RequestProgress(streamOf(ctx))
	return nil
}

// Close does nothing: watches end with their contexts or with the store.
func (w *watcher) Close() error { return nil }

func streamOf(ctx context.Context) string {
	if md, ok := metadata.FromOutgoingContext(ctx); ok {
		return fmt.Sprintf("%+v", map[string][]string(md))
	}
	return ""
}
