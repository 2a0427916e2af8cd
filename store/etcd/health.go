// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"portico.dev/portico/store"
)

// How often etcd is asked whether it is well, and how long it may think.
const (
	probeWell    = 5 * time.Second
	probeUnwell  = time.Second
	probeTimeout = 3 * time.Second
)

// tolerated failures of a probe: an election of a new leader is not an outage.
const tolerated = 1

// health holds the result of the last probes.
type health struct {
	mu  sync.Mutex
	err error
}

func (h *health) get() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

func (h *health) set(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
}

// watchHealth probes etcd until ctx ends.
func (b *Backend) watchHealth(ctx context.Context) {
	for failures := 0; ; {
		wait := probeWell
		if failures > 0 {
			wait = probeUnwell
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		err := b.probe(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			failures = 0
			b.health.set(nil)
		default:
			if failures++; failures > tolerated {
				b.health.set(fmt.Errorf("%w: etcd: %w", store.ErrUnavailable, err))
			}
		}
	}
}

// waitAnswering returns when etcd is well, or cannot become so by waiting.
func (b *Backend) waitAnswering(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.options.StartTimeout)
	defer cancel()
	last := context.DeadlineExceeded
	for {
		err := b.probe(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || errors.Is(last, context.DeadlineExceeded) {
			last = err
		}
		if hopeless(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no healthy answer within %v: %w", b.options.StartTimeout, last)
		case <-time.After(probeUnwell / 4):
		}
	}
}

// hopeless reports errors that are the same at the next attempt.
func hopeless(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.FailedPrecondition, codes.Unimplemented:
		return true
	default:
		return errors.Is(err, rpctypes.ErrAuthFailed) || errors.Is(err, rpctypes.ErrPermissionDenied) || errors.Is(err, rpctypes.ErrUserEmpty)
	}
}

// probe reads below our prefix, which needs a leader, and asks for the alarms,
// with which etcd refuses writes and goes on to answer reads.
//
// It goes around the client's own retries, which would hide the cause behind a
// deadline.
func (b *Backend) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn := b.client.ActiveConnection()
	_, err := pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte(b.options.CompactionKey), KeysOnly: true})
	if err != nil {
		return rpctypes.Error(err)
	}
	s, err := pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{})
	if err != nil {
		return rpctypes.Error(err)
	}
	return alarm(s.Errors)
}

// alarm turns the alarms in a member's status into an error.
func alarm(found []string) error {
	all := strings.Join(found, ", ")
	switch {
	case strings.Contains(all, pb.AlarmType_NOSPACE.String()):
		return errors.New("its space quota is used up, and it takes no writes: compact and defragment it or raise the quota, then disarm the alarm (etcdctl alarm disarm)")
	case strings.Contains(all, pb.AlarmType_CORRUPT.String()):
		return errors.New("a member's data is corrupt, and it takes no writes: " + all)
	default:
		return nil
	}
}
