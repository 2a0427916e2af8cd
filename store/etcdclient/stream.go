// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package etcdclient

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// streamChunk is how many values one piece of a stream holds: enough to make
// hand-overs rare, little enough that decoding starts at once.
const streamChunk = 500

// GetStream implements clientv3.KV: a range in pieces, all of one revision,
// with header, count and more on the last one.
//
// The etcd client's own GetStream would leave its goroutine behind when the
// reader stops half-way, so the sending is done here.
func (k *kv) GetStream(ctx context.Context, key string, opts ...clientv3.OpOption) (clientv3.GetStreamChan, error) {
	op := clientv3.OpGet(key, opts...)
	if op.IsSortSet() || op.IsCountOnly() || op.MinModRev() != 0 || op.MaxModRev() != 0 || op.MinCreateRev() != 0 || op.MaxCreateRev() != 0 {
		return nil, unimplemented("a stream that sorts, filters or counts")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	view, err := k.engine.Index().View().At(op.Rev())
	if err != nil {
		return failedStream(ctx, err), nil
	}
	// The whole range is collected now: pointers only, and then no compaction
	// can come in between.
	kvs, count := view.Range(string(op.KeyBytes()), string(op.RangeBytes()), op.Limit())
	if err := view.Err(); err != nil {
		return failedStream(ctx, err), nil
	}
	if op.IsKeysOnly() {
		for i, kv := range kvs {
			kvs[i] = withoutValue(kv)
		}
	}
	last := &pb.RangeResponse{Header: header(view.Current()), Count: count, More: count > int64(len(kvs))}
	chunks := make(chan clientv3.RangeStreamResponse, 1)
	go sendChunks(ctx, chunks, kvs, last)
	return chunks, nil
}

// sendChunks sends the values in pieces, the last of them in last.
func sendChunks(ctx context.Context, chunks chan clientv3.RangeStreamResponse, kvs []*mvccpb.KeyValue, last *pb.RangeResponse) {
	defer close(chunks)
	for done := false; !done; {
		next := &pb.RangeResponse{}
		if done = len(kvs) <= streamChunk; done {
			next = last
			next.Kvs = kvs
		} else {
			next.Kvs, kvs = kvs[:streamChunk:streamChunk], kvs[streamChunk:]
		}
		select {
		case chunks <- clientv3.RangeStreamResponse{RangeResponse: next}:
		case <-ctx.Done():
			// The reader must not take a stream that was cut short for a
			// complete one. The error takes the place of a piece that was not
			// read yet, so this does not block.
			select {
			case <-chunks:
			default:
			}
			chunks <- failedChunk(ctx, ctx.Err())
			return
		}
	}
}

// failedStream is a stream that begins with an error. etcd answers so to a
// revision that was compacted, and upstream turns only errors of a stream into
// those of the API.
func failedStream(ctx context.Context, err error) clientv3.GetStreamChan {
	chunks := make(chan clientv3.RangeStreamResponse, 1)
	chunks <- failedChunk(ctx, err)
	close(chunks)
	return chunks
}

// failedChunk is a piece that carries an error. Only the etcd client itself can
// set the field for it.
func failedChunk(ctx context.Context, err error) clientv3.RangeStreamResponse {
	broken := clientv3.NewKVFromKVClient(brokenKV{err: err}, nil)
	stream, err := broken.GetStream(context.WithoutCancel(ctx), "\x00")
	if err != nil {
		return clientv3.RangeStreamResponse{}
	}
	return <-stream
}

// brokenKV is a connection on which every stream fails with err.
type brokenKV struct {
	pb.KVClient
	err error
}

func (b brokenKV) RangeStream(context.Context, *pb.RangeRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[pb.RangeStreamResponse], error) {
	return brokenStream{err: b.err}, nil
}

type brokenStream struct {
	grpc.ClientStream
	err error
}

func (b brokenStream) Recv() (*pb.RangeStreamResponse, error) { return nil, b.err }
