// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"

	"portico.dev/portico/rewrite"
)

// Delete implements storage.Interface: it removes the object now. By the time
// the registry calls it, grace periods and virtual finalizers are dealt with,
// so the finalizer that stands for the latter goes and the host deletes with a
// grace period of zero. An object that the host's own finalizers hold stays
// until they are gone, and is seen as being deleted.
func (s *Storage) Delete(ctx context.Context, path string, out runtime.Object, preconditions *storage.Preconditions,
	validateDeletion storage.ValidateObjectFunc, suggestion runtime.Object, _ storage.DeleteOptions,
) error {
	k, err := s.parse(path)
	if err != nil {
		return err
	}
	if s.isKept(k) {
		return s.keptForbidden(k)
	}
	orig, err := s.remembered(ctx, k, false, suggestion)
	if err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return s.interpret(ctx, err, k)
		}
		end, err := s.deleteOnce(ctx, k, orig, out, preconditions, validateDeletion)
		if end == done || end == failed && orig.current {
			return err
		}
		fresh, readErr := s.read(ctx, k, false)
		if readErr != nil {
			return readErr
		}
		if err != nil && fresh.rv == orig.rv {
			return err
		}
		orig = fresh
	}
}

func (s *Storage) deleteOnce(ctx context.Context, k key, orig *state, out runtime.Object,
	preconditions *storage.Preconditions, validateDeletion storage.ValidateObjectFunc,
) (outcome, error) {
	if err := preconditions.Check(k.path, orig.virtual); err != nil {
		return failed, err
	}
	if err := validateDeletion(ctx, orig.virtual); err != nil {
		return failed, err
	}
	if err := s.mayDelete(k, orig.host); err != nil {
		return failed, err
	}
	reply, err := s.hostRemove(ctx, k, orig)
	if err != nil {
		return s.failure(ctx, err, k.about(orig.host))
	}
	if reply == nil {
		return done, assign(out, orig.virtual)
	}
	return done, s.accept(ctx, reply, out, true)
}

// hostRemove makes the host calls of a deletion. The reply is nil when the
// host did not say how it left the object.
func (s *Storage) hostRemove(ctx context.Context, k key, orig *state) (runtime.Object, error) {
	m, err := meta.Accessor(orig.host)
	if err != nil {
		return nil, err
	}
	name, uid, rv := m.GetName(), m.GetUID(), m.GetResourceVersion()
	held := slices.Contains(m.GetFinalizers(), rewrite.FinalizerVirtual)
	if held {
		reply, err := s.release(ctx, k, orig, m)
		if err != nil {
			return nil, err
		}
		if rv, err = s.acknowledge(reply); err != nil {
			return nil, err
		}
	}
	zero := int64(0)
	reply, err := s.host.delete(ctx, name, &zero, uid, rv)
	switch {
	case apierrors.IsNotFound(err) && held:
		// The host deleted it when the finalizer went.
		s.expectGone(ctx, uid)
		return nil, nil
	case err != nil:
		return nil, err
	case reply == nil:
		s.expectGone(ctx, uid)
	}
	return reply, nil
}

// release patches the virtual finalizers away, in the overlay and on the host,
// also those that have the name of one on the host: ours, in a cluster that is
// the host of another. The host's own stay on the host, and shown.
func (s *Storage) release(ctx context.Context, k key, orig *state, host metav1.Object) (runtime.Object, error) {
	updated := orig.virtual.DeepCopyObject()
	m, err := meta.Accessor(updated)
	if err != nil {
		return nil, err
	}
	m.SetFinalizers(nil)
	versioned, in, err := s.wished(ctx, orig, updated)
	if err != nil {
		return nil, err
	}
	after, err := s.translate(ctx, versioned, in)
	if err != nil {
		return nil, err
	}
	d, err := compare(orig.host, after, s.kind.shape)
	if err != nil {
		return nil, err
	}
	p, err := step{metadata: d.metadata}.patch(d.format, host.GetUID(), host.GetResourceVersion())
	if err != nil {
		return nil, err
	}
	return s.host.patch(ctx, host.GetName(), p)
}
