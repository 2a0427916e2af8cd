// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
)

// Create implements storage.Interface: the host makes the object, and the
// client gets the host's reply, with its uid and revision. The uid that the
// registry made up before is forgotten.
func (s *Storage) Create(ctx context.Context, path string, obj, out runtime.Object, _ uint64) error {
	k, err := s.parse(path)
	if err != nil {
		return err
	}
	if rv, err := s.versioner.ObjectResourceVersion(obj); err == nil && rv != 0 {
		return storage.ErrResourceVersionSetOnCreate
	}
	return s.create(ctx, k, obj, out)
}

func (s *Storage) create(ctx context.Context, k key, obj, out runtime.Object) error {
	if s.isKept(k) {
		return storage.NewKeyExistsError(k.path, 0)
	}
	if err := s.admissible(k, obj); err != nil {
		return err
	}
	versioned, err := s.toVersioned(obj)
	if err != nil {
		return err
	}
	if err := s.vacant(ctx, k); err != nil {
		return err
	}
	in := s.cfg.Inputs(ctx, versioned)
	if in.Former, err = s.claims(ctx, k, versioned); err != nil {
		return err
	}
	if s.kind.facts != nil {
		if err := s.kind.facts(s, ctx, k, versioned, &in); err != nil {
			return err
		}
	}
	h, err := s.translate(ctx, versioned, in)
	if err != nil {
		return s.refusal(ctx, err, k)
	}
	if s.kind.mayCreate != nil {
		if err := s.kind.mayCreate(s, ctx, k, h); err != nil {
			return err
		}
	}
	m, err := meta.Accessor(h)
	if err != nil {
		return err
	}
	m.SetUID("")
	m.SetResourceVersion("")
	k = k.about(h)
	settle, err := s.ensureReferents(ctx, k, versioned)
	if err != nil {
		return err
	}
	reply, err := s.host.create(s.withWarnings(ctx, k), h)
	settle(isRefusal(err))
	if err != nil {
		return s.interpret(ctx, err, k)
	}
	return s.accept(ctx, reply, out, false)
}
