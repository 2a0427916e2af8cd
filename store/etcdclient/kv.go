// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package etcdclient

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"portico.dev/portico/store/mvcc"
)

// kv is clientv3.KV. The etcd client builds the requests, of which parts cannot
// be read from outside its package, and hands them to kvServer in place of a
// connection. Only GetStream is different, see stream.go.
type kv struct {
	clientv3.KV
	engine Engine
}

func newKV(e Engine) *kv {
	return &kv{KV: clientv3.NewKVFromKVClient(&kvServer{engine: e}, nil), engine: e}
}

// kvServer answers the requests of the etcd client.
type kvServer struct {
	engine Engine
}

var _ pb.KVClient = (*kvServer)(nil)

func (s *kvServer) Range(ctx context.Context, r *pb.RangeRequest, _ ...grpc.CallOption) (*pb.RangeResponse, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	view, err := s.engine.Index().View().At(r.Revision)
	if err != nil {
		return nil, err
	}
	resp, err := rangeView(view, r)
	if err != nil {
		return nil, err
	}
	return resp, view.Err()
}

func rangeView(view mvcc.View, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	if len(r.Key) == 0 {
		return nil, rpctypes.ErrEmptyKey
	}
	resp := &pb.RangeResponse{Header: header(view.Current())}
	start, end := string(r.Key), string(r.RangeEnd)
	if r.CountOnly {
		resp.Count = view.Count(start, end)
		return resp, nil
	}
	limit := r.Limit
	if selective(r) {
		limit = 0 // the limit applies after sorting and filtering
	}
	resp.Kvs, resp.Count = view.Range(start, end, limit)
	finish(resp, r)
	return resp, nil
}

// selective reports whether a request sorts or filters.
func selective(r *pb.RangeRequest) bool {
	return r.SortOrder != pb.RangeRequest_NONE || r.SortTarget != pb.RangeRequest_KEY ||
		r.MinModRevision != 0 || r.MaxModRevision != 0 || r.MinCreateRevision != 0 || r.MaxCreateRevision != 0
}

// finish filters, sorts, limits and strips the values of a response.
func finish(resp *pb.RangeResponse, r *pb.RangeRequest) {
	if selective(r) {
		resp.Kvs = slices.DeleteFunc(resp.Kvs, func(kv *mvccpb.KeyValue) bool {
			return r.MinModRevision != 0 && kv.ModRevision < r.MinModRevision ||
				r.MaxModRevision != 0 && kv.ModRevision > r.MaxModRevision ||
				r.MinCreateRevision != 0 && kv.CreateRevision < r.MinCreateRevision ||
				r.MaxCreateRevision != 0 && kv.CreateRevision > r.MaxCreateRevision
		})
		slices.SortStableFunc(resp.Kvs, func(a, b *mvccpb.KeyValue) int {
			if r.SortOrder == pb.RangeRequest_DESCEND {
				a, b = b, a
			}
			return compareBy(r.SortTarget, a, b)
		})
		if r.Limit > 0 && int64(len(resp.Kvs)) > r.Limit {
			resp.Kvs = resp.Kvs[:r.Limit]
			resp.More = true
		}
	} else {
		resp.More = r.Limit > 0 && resp.Count > r.Limit
	}
	if r.KeysOnly {
		for i, kv := range resp.Kvs {
			resp.Kvs[i] = withoutValue(kv)
		}
	}
}

func compareBy(target pb.RangeRequest_SortTarget, a, b *mvccpb.KeyValue) int {
	switch target {
	case pb.RangeRequest_VERSION:
		return cmp.Compare(a.Version, b.Version)
	case pb.RangeRequest_CREATE:
		return cmp.Compare(a.CreateRevision, b.CreateRevision)
	case pb.RangeRequest_MOD:
		return cmp.Compare(a.ModRevision, b.ModRevision)
	case pb.RangeRequest_VALUE:
		return bytes.Compare(a.Value, b.Value)
	default:
		return bytes.Compare(a.Key, b.Key)
	}
}

func withoutValue(kv *mvccpb.KeyValue) *mvccpb.KeyValue {
	return &mvccpb.KeyValue{Key: kv.Key, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Version: kv.Version, Lease: kv.Lease}
}

func (s *kvServer) Put(ctx context.Context, r *pb.PutRequest, _ ...grpc.CallOption) (*pb.PutResponse, error) {
	var resp *pb.PutResponse
	r = cloneValue(r)
	rev, err := s.engine.Update(ctx, func(t *mvcc.Tx) (err error) {
		resp, err = put(t, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	resp.Header = header(rev)
	return resp, nil
}

func (s *kvServer) DeleteRange(ctx context.Context, r *pb.DeleteRangeRequest, _ ...grpc.CallOption) (*pb.DeleteRangeResponse, error) {
	var resp *pb.DeleteRangeResponse
	rev, err := s.engine.Update(ctx, func(t *mvcc.Tx) (err error) {
		resp, err = deleteRange(t, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	resp.Header = header(rev)
	return resp, nil
}

func (s *kvServer) Txn(ctx context.Context, r *pb.TxnRequest, _ ...grpc.CallOption) (*pb.TxnResponse, error) {
	if err := checkTxn(r); err != nil {
		return nil, err
	}
	r = cloneTxn(r)
	var resp *pb.TxnResponse
	rev, err := s.engine.Update(ctx, func(t *mvcc.Tx) (err error) {
		resp, err = txn(t, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	setHeaders(resp, header(rev))
	return resp, nil
}

func (s *kvServer) Compact(ctx context.Context, r *pb.CompactionRequest, _ ...grpc.CallOption) (*pb.CompactionResponse, error) {
	if err := s.engine.Compact(ctx, r.Revision); err != nil {
		return nil, err
	}
	return &pb.CompactionResponse{Header: header(s.engine.Index().Revision())}, nil
}

func (s *kvServer) RangeStream(context.Context, *pb.RangeRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[pb.RangeStreamResponse], error) {
	return nil, unimplemented("RangeStream over the wire")
}
