// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"

	"portico.dev/portico/rewrite"
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
	h, err := s.hostForm(ctx, k, versioned, in)
	if err != nil {
		return err
	}
	if s.kind.mayCreate != nil {
		if err := s.kind.mayCreate(s, ctx, k, h); err != nil {
			return err
		}
	}
	k = k.about(h)
	settle, err := s.ensureReferents(ctx, k, versioned)
	if err != nil {
		return err
	}
	reply, err := s.host.create(s.withWarnings(ctx, k), h)
	if rewrite.RefusesEtcHosts(err) {
		in.ShortName = true
		if h, err = s.hostForm(ctx, k, versioned, in); err == nil {
			reply, err = s.host.create(s.withWarnings(ctx, k), h)
		}
	}
	if err != nil {
		settle(isRefusal(err))
		return s.interpret(ctx, err, k)
	}
	if out == nil {
		out = s.newFunc()
	}
	takenBack, err := s.acceptNew(ctx, k, versioned, reply, out)
	settle(takenBack) // to the referents, as if the host had refused it
	return err
}

// acceptNew sets out to the reply to a creation. An object that the host has, but
// not as it was asked for, may be taken back.
func (s *Storage) acceptNew(ctx context.Context, k key, asked, reply, out runtime.Object) (takenBack bool, err error) {
	if err := s.accept(ctx, reply, out, false); err != nil {
		return false, err
	}
	paths, err := s.warnOfLost(ctx, k, asked, out)
	if err != nil {
		return false, err
	}
	return s.withoutVital(ctx, k, paths, reply)
}

// hostForm is the host object of a new virtual one.
func (s *Storage) hostForm(ctx context.Context, k key, v runtime.Object, in rewrite.Inputs) (runtime.Object, error) {
	h, err := s.translate(ctx, v, in)
	if err != nil {
		return nil, s.refusal(ctx, err, k)
	}
	if h, err = s.shownToHooks(ctx, k, admissionv1.Create, nil, h); err != nil {
		return nil, err
	}
	m, err := meta.Accessor(h)
	if err != nil {
		return nil, err
	}
	m.SetUID("")
	m.SetResourceVersion("")
	return h, nil
}
