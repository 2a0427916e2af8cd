// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"github.com/k3s-io/kine/pkg/drivers"
	"github.com/k3s-io/kine/pkg/drivers/generic"
	kinemysql "github.com/k3s-io/kine/pkg/drivers/mysql"
	"github.com/k3s-io/kine/pkg/drivers/pgsql"
	"github.com/k3s-io/kine/pkg/server"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"k8s.io/klog/v2"

	"portico.dev/portico/store"
	"portico.dev/portico/store/etcd"
)

// Settings of kine. Those without a reason are the defaults of its own program.
const (
	compactTimeout = 5 * time.Second
	compactBatch   = 1000
	pollBatch      = 500
	// compactionKey is the one key that kine counts versions of.
	compactionKey  = "compact_rev_key"
	notifyInterval = 5 * time.Second
	// emulated is the version of etcd that supports all that kine does.
	emulated = "3.6.11"

	// As few connections as a busy cluster can do with; databases have room for
	// a hundred or two in all.
	maxOpen     = 20
	maxIdle     = 4
	maxIdleTime = 2 * time.Minute
	maxLooking  = 4 // for gaps in the revisions

	pipeSize    = 256 << 10
	maxRequest  = 2 << 20 // as etcd, with room for the request around the value
	stopTimeout = 2 * time.Second
)

// Backend is a store.Backend on a database.
type Backend struct {
	*etcd.Backend
	server  *grpc.Server
	table   *sql.DB
	stop    context.CancelFunc
	working *sync.WaitGroup
}

var _ store.Backend = (*Backend)(nil)

// Open connects to a database, makes the table if it is not there, and serves
// it. The backend outlives ctx, which only bounds the opening.
func Open(ctx context.Context, o Options) (*Backend, error) {
	if o.StartTimeout == 0 {
		o.StartTimeout = etcd.DefaultStartTimeout
	}
	if o.PollInterval == 0 {
		o.PollInterval = DefaultPollInterval
	}
	takeLog(klog.FromContext(ctx))
	b, err := open(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("%s at %s: %w", o.Database, o.endpoint().Address(), err)
	}
	return b, nil
}

func open(ctx context.Context, o Options) (*Backend, error) {
	if err := o.waitAnswering(ctx); err != nil {
		return nil, err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	b := &Backend{stop: stop, working: &sync.WaitGroup{}}
	if err := b.start(ctx, background, o); err != nil {
		b.shutdown()
		return nil, err
	}
	return b, nil
}

// start makes all parts of the backend. Those that are made are in it even if
// others fail.
func (b *Backend) start(ctx, background context.Context, o Options) error {
	kine, err := b.connect(background, o)
	if err != nil {
		return err
	}
	if err := o.compareBytes(ctx); err != nil {
		return err
	}
	if b.table, err = o.open(); err != nil {
		return err
	}
	b.table.SetMaxOpenConns(maxLooking)
	b.table.SetMaxIdleConns(1)
	b.table.SetConnMaxIdleTime(maxIdleTime)
	backend := newSettled(kine, table{b.table})
	if err := backend.begin(ctx); err != nil {
		return err
	}
	dial := b.serve(backend)
	b.Backend, err = etcd.Open(ctx, etcd.Options{
		Endpoints:     []string{"kine.in-process:2379"},
		Prefix:        o.Prefix,
		Retention:     o.Retention,
		CompactionKey: compactionKey,
		StartTimeout:  o.StartTimeout,
		Dial:          dial,
	})
	return err
}

// connect makes kine's connection to the database. kine does not give up when
// the context of its opening ends, only when its own does.
func (b *Backend) connect(ctx context.Context, o Options) (server.Backend, error) {
	giveUp := time.AfterFunc(o.StartTimeout, b.stop)
	config := &drivers.Config{
		BackendTLSConfig: o.files(),
		ConnectionPoolConfig: generic.ConnectionPoolConfig{
			MaxOpen: maxOpen, MaxIdle: maxIdle, MaxIdleTime: maxIdleTime,
		},
		// Compaction is asked for as from an etcd, so kine does none by itself.
		CompactTimeout:   compactTimeout,
		CompactBatchSize: compactBatch,
		PollInterval:     o.PollInterval,
		PollBatchSize:    pollBatch,
	}
	source, driver := o.endpoint().PostgreSQL, pgsql.New
	if o.Database == MySQL {
		source, driver = o.endpoint().MySQL, kinemysql.New
	}
	var err error
	if config.DataSourceName, err = source(); err != nil {
		return nil, err
	}
	_, backend, err := driver(ctx, b.working, config)
	if err == nil {
		err = backend.Start(ctx)
	}
	if !giveUp.Stop() {
		return nil, errors.Join(fmt.Errorf("not ready within %v; is the database there, or may the user create it?", o.StartTimeout), err)
	}
	if err != nil {
		return nil, err
	}
	return backend, nil
}

// serve answers on a pipe, and returns the way to it.
func (b *Backend) serve(backend server.Backend) func(context.Context, string) (net.Conn, error) {
	b.server = grpc.NewServer(grpc.MaxRecvMsgSize(maxRequest), grpc.MaxSendMsgSize(math.MaxInt32), grpc.MaxConcurrentStreams(math.MaxUint32),
		grpc.StreamInterceptor(refuseRangeStream))
	server.New(backend, "http", notifyInterval, emulated).Register(b.server)
	pipe := bufconn.Listen(pipeSize)
	b.working.Go(func() { _ = b.server.Serve(pipe) }) // It ends when it is stopped.
	return func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }
}

// refuseRangeStream leaves lists to be read in pages. kine answers a stream
// while it goes on to write the revision that it answers with
// (SQLLog.ListStream); the race detector says so.
func refuseRangeStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if info.FullMethod == pb.KV_RangeStream_FullMethodName {
		return status.Error(codes.Unimplemented, "lists are not streamed")
	}
	return handle(srv, stream)
}

// Close implements store.Backend.
func (b *Backend) Close() error {
	err := b.Backend.Close()
	b.shutdown()
	return err
}

func (b *Backend) shutdown() {
	if b.server != nil {
		hard := time.AfterFunc(stopTimeout, b.server.Stop)
		b.server.GracefulStop()
		hard.Stop()
	}
	if b.table != nil {
		_ = b.table.Close()
	}
	b.stop()
	b.working.Wait()
}
