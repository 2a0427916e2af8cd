// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package etcdclient

import (
	"bytes"
	"cmp"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/protobuf/proto"

	"portico.dev/portico/store/mvcc"
)

// txn evaluates a transaction of the wire form at the tip.
func txn(t *mvcc.Tx, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	resp := &pb.TxnResponse{Succeeded: true}
	for _, c := range r.Compare {
		if !holds(t, c) {
			resp.Succeeded = false
			break
		}
	}
	ops := r.Success
	if !resp.Succeeded {
		ops = r.Failure
	}
	for _, op := range ops {
		out, err := apply(t, op)
		if err != nil {
			return nil, err
		}
		resp.Responses = append(resp.Responses, out)
	}
	return resp, nil
}

func apply(t *mvcc.Tx, op *pb.RequestOp) (*pb.ResponseOp, error) {
	switch r := op.Request.(type) {
	case *pb.RequestOp_RequestRange:
		resp, err := rangeTip(t, r.RequestRange)
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseRange{ResponseRange: resp}}, err
	case *pb.RequestOp_RequestPut:
		resp, err := put(t, r.RequestPut)
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponsePut{ResponsePut: resp}}, err
	case *pb.RequestOp_RequestDeleteRange:
		resp, err := deleteRange(t, r.RequestDeleteRange)
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: resp}}, err
	case *pb.RequestOp_RequestTxn:
		resp, err := txn(t, r.RequestTxn)
		return &pb.ResponseOp{Response: &pb.ResponseOp_ResponseTxn{ResponseTxn: resp}}, err
	default:
		return nil, unimplemented("this operation")
	}
}

// rangeTip reads inside a transaction. The past can be read outside of one.
func rangeTip(t *mvcc.Tx, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	if len(r.Key) == 0 {
		return nil, rpctypes.ErrEmptyKey
	}
	if r.Revision != 0 {
		return nil, unimplemented("a read of the past inside a transaction")
	}
	kvs := t.Range(string(r.Key), string(r.RangeEnd))
	resp := &pb.RangeResponse{Count: int64(len(kvs))}
	if r.CountOnly {
		return resp, nil
	}
	if !selective(r) && r.Limit > 0 && int64(len(kvs)) > r.Limit {
		kvs = kvs[:r.Limit]
	}
	resp.Kvs = kvs
	finish(resp, r)
	return resp, nil
}

func put(t *mvcc.Tx, r *pb.PutRequest) (*pb.PutResponse, error) {
	if len(r.Key) == 0 {
		return nil, rpctypes.ErrEmptyKey
	}
	key, value, leaseID := string(r.Key), r.Value, r.Lease
	if r.IgnoreValue || r.IgnoreLease {
		current := t.Get(key)
		switch {
		case current == nil:
			return nil, rpctypes.ErrKeyNotFound
		case r.IgnoreValue && len(r.Value) != 0:
			return nil, rpctypes.ErrValueProvided
		case r.IgnoreLease && r.Lease != 0:
			return nil, rpctypes.ErrLeaseProvided
		}
		if r.IgnoreValue {
			value = current.Value
		}
		if r.IgnoreLease {
			leaseID = current.Lease
		}
	}
	_, prev, err := t.Put(key, value, leaseID)
	if err != nil {
		return nil, err
	}
	resp := &pb.PutResponse{}
	if r.PrevKv {
		resp.PrevKv = prev
	}
	return resp, nil
}

func deleteRange(t *mvcc.Tx, r *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	if len(r.Key) == 0 {
		return nil, rpctypes.ErrEmptyKey
	}
	resp := &pb.DeleteRangeResponse{}
	for _, kv := range t.Range(string(r.Key), string(r.RangeEnd)) {
		prev := t.Delete(string(kv.Key))
		resp.Deleted++
		if r.PrevKv {
			resp.PrevKvs = append(resp.PrevKvs, prev)
		}
	}
	return resp, nil
}

// holds evaluates a comparison. A range of keys holds if each of its keys does.
func holds(t *mvcc.Tx, c *pb.Compare) bool {
	if len(c.RangeEnd) == 0 {
		return holdsFor(t.Get(string(c.Key)), c)
	}
	for _, kv := range t.Range(string(c.Key), string(c.RangeEnd)) {
		if !holdsFor(kv, c) {
			return false
		}
	}
	return true
}

func holdsFor(kv *mvccpb.KeyValue, c *pb.Compare) bool {
	if kv == nil {
		if c.Target == pb.Compare_VALUE {
			return false // there is no value to compare, as in etcd
		}
		kv = &mvccpb.KeyValue{}
	}
	var order int
	switch c.Target {
	case pb.Compare_VERSION:
		order = cmp.Compare(kv.Version, c.GetVersion())
	case pb.Compare_CREATE:
		order = cmp.Compare(kv.CreateRevision, c.GetCreateRevision())
	case pb.Compare_MOD:
		order = cmp.Compare(kv.ModRevision, c.GetModRevision())
	case pb.Compare_LEASE:
		order = cmp.Compare(kv.Lease, c.GetLease())
	case pb.Compare_VALUE:
		order = bytes.Compare(kv.Value, c.GetValue())
	}
	switch c.Result {
	case pb.Compare_EQUAL:
		return order == 0
	case pb.Compare_NOT_EQUAL:
		return order != 0
	case pb.Compare_GREATER:
		return order > 0
	default:
		return order < 0
	}
}

// checkTxn refuses a transaction that puts a key twice on one of its paths, for
// the two would have the same revision.
func checkTxn(r *pb.TxnRequest) error {
	for _, ops := range [][]*pb.RequestOp{r.Success, r.Failure} {
		if err := checkPuts(ops, map[string]struct{}{}); err != nil {
			return err
		}
	}
	return nil
}

func checkPuts(ops []*pb.RequestOp, seen map[string]struct{}) error {
	for _, op := range ops {
		switch r := op.Request.(type) {
		case *pb.RequestOp_RequestPut:
			key := string(r.RequestPut.Key)
			if _, twice := seen[key]; twice {
				return rpctypes.ErrDuplicateKey
			}
			seen[key] = struct{}{}
		case *pb.RequestOp_RequestDeleteRange:
			end := string(r.RequestDeleteRange.RangeEnd)
			for key := range seen {
				if mvcc.InRange(key, string(r.RequestDeleteRange.Key), end) {
					return rpctypes.ErrDuplicateKey
				}
			}
		case *pb.RequestOp_RequestTxn:
			for _, nested := range [][]*pb.RequestOp{r.RequestTxn.Success, r.RequestTxn.Failure} {
				if err := checkPuts(nested, seen); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// setHeaders gives a response and the responses nested in it the revision of
// the transaction.
func setHeaders(resp *pb.TxnResponse, h *pb.ResponseHeader) {
	resp.Header = h
	for _, op := range resp.Responses {
		switch r := op.Response.(type) {
		case *pb.ResponseOp_ResponseRange:
			r.ResponseRange.Header = h
		case *pb.ResponseOp_ResponsePut:
			r.ResponsePut.Header = h
		case *pb.ResponseOp_ResponseDeleteRange:
			r.ResponseDeleteRange.Header = h
		case *pb.ResponseOp_ResponseTxn:
			setHeaders(r.ResponseTxn, h)
		}
	}
}

// cloneValue copies a request whose value the store keeps.
func cloneValue(r *pb.PutRequest) *pb.PutRequest { return proto.Clone(r).(*pb.PutRequest) }

func cloneTxn(r *pb.TxnRequest) *pb.TxnRequest { return proto.Clone(r).(*pb.TxnRequest) }
