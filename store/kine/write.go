// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kine

import (
	"context"

	"github.com/k3s-io/kine/pkg/server"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxWriters write at a time. kine needs two connections for a write, and those
// who each have one would wait for each other's second.
const maxWriters = maxOpen/2 - 2

func (s *settled) write(ctx context.Context, write func() error) error {
	select {
	case s.writers <- struct{}{}:
		defer func() { <-s.writers }()
		return write()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errNotWritten is returned for a create that kine says has happened.
var errNotWritten = status.Error(codes.Unavailable, "the database did not take the key")

// Create implements server.Backend. kine also reports success when the database
// rejected the row and no such key exists (logstructured.Create), so Create
// reads the row back.
func (s *settled) Create(ctx context.Context, key string, value []byte, lease int64) (revision int64, err error) {
	err = s.write(ctx, func() error {
		if revision, err = s.Backend.Create(ctx, key, value, lease); err != nil {
			return err
		}
		_, kv, err := s.Backend.Get(ctx, key, revision, true)
		if err == nil && (kv == nil || kv.ModRevision != revision) {
			err = errNotWritten
		}
		return err
	})
	return revision, err
}

// Update implements server.Backend.
func (s *settled) Update(ctx context.Context, key string, value []byte, revision, lease int64) (current int64, kv *server.KeyValue, updated bool, err error) {
	err = s.write(ctx, func() error {
		current, kv, updated, err = s.Backend.Update(ctx, key, value, revision, lease)
		return err
	})
	return current, kv, updated, err
}

// Delete implements server.Backend.
func (s *settled) Delete(ctx context.Context, key string, revision int64) (current int64, kv *server.KeyValue, deleted bool, err error) {
	err = s.write(ctx, func() error {
		current, kv, deleted, err = s.Backend.Delete(ctx, key, revision)
		return err
	})
	return current, kv, deleted, err
}
