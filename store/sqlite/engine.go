// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	sqlite3 "github.com/mattn/go-sqlite3"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"
	"k8s.io/klog/v2"

	"portico.dev/portico/store"
	"portico.dev/portico/store/etcdclient"
	"portico.dev/portico/store/mvcc"
)

// Engine is an open store.
type Engine struct {
	options Options
	path    string
	lock    *os.File
	index   *mvcc.Index
	queue   *queue
	client  *etcdk8s.Client

	// The following fields belong to the writer goroutine.
	disk    *disk
	garbage []int64
	// usable says, after a fault, that the file agrees with memory again.
	usable bool
	// tried is when the disk was last tried, failedBytes the largest batch
	// that it did not take.
	tried       time.Time
	failedBytes int64
	// walExcused is the size that the WAL had when a reader of the file kept it
	// from starting over.
	walExcused int64
	// sinceJob counts the writes since the last job.
	sinceJob struct{ changes, bytes int64 }

	// checkpoints is the checkpointer's own connection.
	checkpoints   *sqlite3.SQLiteConn
	checkpointing sync.Mutex   // held during a checkpoint, by the goroutine that makes it
	walBytes      atomic.Int64 // written since the last checkpoint, estimated
	walKick       chan struct{}
	historyKick   chan struct{} // there is too much of it

	// fault is why the last attempt to write failed, or nil.
	fault atomic.Pointer[error]
	// testFault lets tests of this package break the disk.
	testFault func(point string) error

	cancel context.CancelFunc
	wg     sync.WaitGroup
	close  func() error
}

var (
	_ store.Backend     = (*Engine)(nil)
	_ etcdclient.Engine = (*Engine)(nil)
)

// Open opens the store in a data directory, creating it if there is none. The
// context bounds the opening; its logger is kept.
func Open(ctx context.Context, o Options) (*Engine, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		options:     o,
		path:        filepath.Join(o.Dir, fileName),
		lock:        lock,
		queue:       newQueue(),
		walKick:     make(chan struct{}, 1),
		historyKick: make(chan struct{}, 1),
	}
	e.close = sync.OnceValue(e.shutdown)
	if err := e.openFile(ctx); err != nil {
		_ = e.releaseFile()
		return nil, fmt.Errorf("open store %q: %w", e.path, err)
	}
	e.start(context.WithoutCancel(ctx))
	return e, nil
}

// openFile brings the file into memory.
func (e *Engine) openFile(ctx context.Context) error {
	started := time.Now()
	if err := ensureFile(e.options.Dir); err != nil {
		return err
	}
	if err := recognise(e.path, e.options.Durability); err != nil {
		return err
	}
	var err error
	if e.disk, err = openDisk(e.path, e.options.Durability); err != nil {
		return err
	}
	if e.index, e.garbage, err = load(ctx, e.disk.conn); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	// Found out now rather than at the first write: a read-only disk.
	if err := e.disk.probe(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	if e.checkpoints, err = connect(e.path, e.options.Durability); err != nil {
		return diskError("connect for checkpoints", err)
	}
	klog.FromContext(ctx).V(2).Info("Opened store", "path", e.path, "revision", e.index.Revision(),
		"compactRevision", e.index.CompactRevision(), "duration", time.Since(started))
	return nil
}

func (e *Engine) start(ctx context.Context) {
	ctx, e.cancel = context.WithCancel(ctx)
	e.client = etcdclient.New(ctx, e)
	for _, loop := range []func(context.Context){e.writeLoop, e.checkpointLoop, e.leaseLoop, e.progressLoop, e.compactLoop} {
		e.wg.Go(func() { loop(ctx) })
	}
}

// Client implements store.Backend.
func (e *Engine) Client() *etcdk8s.Client { return e.client }

// CompactRevision implements store.Backend.
func (e *Engine) CompactRevision() int64 { return e.index.CompactRevision() }

// PrefixRevision implements store.Backend.
func (e *Engine) PrefixRevision(prefix string) int64 { return e.index.PrefixRevision(prefix) }

// Used returns the bytes of all keys and their present values, which are known
// always (limit.Meter).
func (e *Engine) Used() (bytes int64, known bool) { return e.index.LiveBytes(), true }

// Index returns the in-memory state, for package etcdclient.
func (e *Engine) Index() *mvcc.Index { return e.index }

// Ready implements store.Backend.
func (e *Engine) Ready() error {
	if e.queue.isClosed() {
		return store.ErrClosed
	}
	if err := e.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// Size returns the bytes that the file and its WAL take on disk.
func (e *Engine) Size() int64 {
	var size int64
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(e.path + suffix); err == nil {
			size += info.Size()
		}
	}
	return size
}

// Close implements store.Backend.
func (e *Engine) Close() error { return e.close() }

func (e *Engine) shutdown() error {
	e.queue.close()
	e.cancel()
	e.index.Close()
	e.wg.Wait()
	return e.releaseFile()
}

// releaseFile closes the files that openFile and lockDir opened.
func (e *Engine) releaseFile() error {
	var firstErr error
	keep := func(err error) {
		if err != nil && firstErr == nil {
			firstErr = fmt.Errorf("close store %q: %w", e.path, err)
		}
	}
	if e.checkpoints != nil {
		keep(e.checkpoints.Close())
	}
	if e.disk != nil {
		keep(e.disk.close())
	}
	keep(e.lock.Close())
	return firstErr
}
