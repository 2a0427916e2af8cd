// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package etcdclient

import (
	"context"
	"io"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// etcdVersion is the version whose behaviour the adapters have. Upstream
// enables features of the client by it.
const etcdVersion = "3.7.0"

// maintenance implements clientv3.Maintenance. There is one member, it is
// healthy or the process is not, and it takes care of itself: calls that do not
// apply return an error that says so.
type maintenance struct {
	engine Engine
}

var _ clientv3.Maintenance = maintenance{}

func (m maintenance) Status(ctx context.Context, _ string) (*clientv3.StatusResponse, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	size := m.engine.Size()
	return &clientv3.StatusResponse{
		Header:      header(m.engine.Index().Revision()),
		Version:     etcdVersion,
		DbSize:      size,
		DbSizeInUse: size,
	}, nil
}

func (m maintenance) AlarmList(ctx context.Context) (*clientv3.AlarmResponse, error) {
	return &clientv3.AlarmResponse{Header: header(m.engine.Index().Revision())}, ctx.Err()
}

func (m maintenance) AlarmDisarm(context.Context, *clientv3.AlarmMember) (*clientv3.AlarmResponse, error) {
	return nil, unimplemented("AlarmDisarm")
}

// Defragment does nothing: the engine gives space back by itself.
func (m maintenance) Defragment(ctx context.Context, _ string) (*clientv3.DefragmentResponse, error) {
	return &clientv3.DefragmentResponse{Header: header(m.engine.Index().Revision())}, ctx.Err()
}

func (m maintenance) HashKV(context.Context, string, int64) (*clientv3.HashKVResponse, error) {
	return nil, unimplemented("HashKV")
}

func (m maintenance) SnapshotWithVersion(context.Context) (*clientv3.SnapshotResponse, error) {
	return nil, unimplemented("SnapshotWithVersion")
}

func (m maintenance) Snapshot(context.Context) (io.ReadCloser, error) {
	return nil, unimplemented("Snapshot")
}

func (m maintenance) MoveLeader(context.Context, uint64) (*clientv3.MoveLeaderResponse, error) {
	return nil, unimplemented("MoveLeader")
}

func (m maintenance) Downgrade(context.Context, clientv3.DowngradeAction, string) (*clientv3.DowngradeResponse, error) {
	return nil, unimplemented("Downgrade")
}

func unimplemented(method string) error {
	return status.Errorf(codes.Unimplemented, "%s is not implemented by the in-process store", method)
}
