// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"

	admissionv1 "k8s.io/api/admission/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
)

// outcome is how one try of an update ended.
type outcome int

const (
	done    outcome = iota
	failed          // for good, if the state was current
	changed         // the host object has changed; the error holds if it has not
)

// GuaranteedUpdate implements storage.Interface. It is the loop of upstream's
// etcd3 store with a host PATCH in the place of the transaction: try on the
// remembered state, and on any failure that old data could explain, read from
// the host and try again. A client's own resourceVersion is compared by
// tryUpdate, so running it again on newer data gives that client its conflict,
// but for that of a moment ago (superseded.go).
func (s *Storage) GuaranteedUpdate(ctx context.Context, path string, destination runtime.Object, ignoreNotFound bool,
	preconditions *storage.Preconditions, tryUpdate storage.UpdateFunc, suggestion runtime.Object,
) error {
	k, err := s.parse(path)
	if err != nil {
		return err
	}
	orig, err := s.remembered(ctx, k, ignoreNotFound, suggestion)
	if err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return s.interpret(ctx, err, k)
		}
		end, err := s.tryShown(ctx, k, orig, destination, preconditions, tryUpdate)
		if end == done || end == failed && orig.current {
			return err
		}
		fresh, readErr := s.read(ctx, k, ignoreNotFound)
		if readErr != nil {
			return readErr
		}
		// The remembered state is the present one: the error has another cause.
		if err != nil && fresh.rv == orig.rv {
			return err
		}
		orig = fresh
	}
}

// tryOnce runs an update against one state of the object.
func (s *Storage) tryOnce(ctx context.Context, k key, orig *state, destination runtime.Object,
	preconditions *storage.Preconditions, tryUpdate storage.UpdateFunc,
) (outcome, error) {
	if err := preconditions.Check(k.path, orig.virtual); err != nil {
		return failed, err
	}
	// tryUpdate may work in place.
	updated, _, err := tryUpdate(orig.virtual.DeepCopyObject(), storage.ResponseMeta{ResourceVersion: orig.rv})
	if err != nil {
		return failed, err
	}
	if orig.host == nil {
		err := s.create(ctx, k, updated, destination)
		if storage.IsExist(err) {
			return changed, err
		}
		return done, err
	}
	if !orig.corrupt && sameVirtual(orig.virtual, updated) {
		if !orig.current {
			return changed, nil
		}
		return done, assign(destination, orig.virtual)
	}
	p, err := s.plan(ctx, k, orig, updated)
	if err != nil {
		return failed, err
	}
	reply, err := s.execute(ctx, k, orig, p)
	p.settle(isRefusal(err))
	if err != nil {
		return s.failure(ctx, err, k.about(p.after))
	}
	switch {
	case reply == nil: // nothing that the host has a say in
		return done, assign(destination, orig.virtual)
	case IsDryRun(ctx) && p.calls() > 1: // each answer has the changes of one call
		return done, assign(destination, updated)
	}
	if err := s.accept(ctx, reply, destination, p.grace != nil); err != nil || destination == nil || !p.changesSpec() {
		return done, err
	}
	_, err = s.warnOfLost(ctx, k, p.asked, destination)
	return done, err
}

// failure is how a try ends whose host call failed. A conflict shows that the
// host object has changed, and so does its absence.
func (s *Storage) failure(ctx context.Context, err error, k key) (outcome, error) {
	end := done
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		end = changed
	}
	return end, s.interpret(ctx, err, k)
}

// plan translates an update into host calls.
func (s *Storage) plan(ctx context.Context, k key, orig *state, updated runtime.Object) (plan, error) {
	if s.isKept(k) {
		return plan{}, s.keptForbidden(k)
	}
	grace, err := deletion(orig.virtual, updated)
	if err != nil {
		return plan{}, err
	}
	if grace != nil {
		if err := s.mayDelete(k, orig.host); err != nil {
			return plan{}, err
		}
	}
	versioned, in, err := s.wished(ctx, orig, updated)
	if err != nil {
		return plan{}, err
	}
	if s.kind.laterFacts != nil {
		if err := s.kind.laterFacts(s, ctx, k, versioned, &in); err != nil {
			return plan{}, err
		}
	}
	after, err := s.translate(ctx, versioned, in)
	if err != nil {
		return plan{}, s.refusal(ctx, err, k)
	}
	if grace == nil && s.subresourceOf(ctx) == subMain {
		if after, err = s.shownToHooks(ctx, k, admissionv1.Update, orig.host, after); err != nil {
			return plan{}, err
		}
	}
	d, err := compare(orig.host, after, s.kind.shape)
	if err != nil {
		return plan{}, err
	}
	p := s.route(ctx, d, orig.host, after)
	p.grace, p.after, p.asked = grace, after, versioned
	if s.kind.mayUpdate != nil {
		if err := s.kind.mayUpdate(s, ctx, k, p); err != nil {
			return plan{}, err
		}
	}
	// New references come with ephemeral containers only, the rest of a pod's
	// spec that can refer to anything does not change.
	for _, st := range p.steps {
		if st.subresource == subEphemeral {
			p.settle, err = s.ensureReferents(ctx, k.about(after), versioned)
			return p, err
		}
	}
	p.settle = settled
	return p, nil
}

// execute makes the calls of a plan, each conditional on the reply to the one
// before. It returns the last reply, which is nil if there was no call.
func (s *Storage) execute(ctx context.Context, k key, orig *state, p plan) (runtime.Object, error) {
	m, err := meta.Accessor(orig.host)
	if err != nil {
		return nil, err
	}
	name, uid, rv := m.GetName(), m.GetUID(), m.GetResourceVersion()
	var reply runtime.Object
	for _, st := range p.steps {
		if st.subresource == subBinding {
			reply, err = s.bind(ctx, name, st.bind, m)
		} else {
			var body patch
			if body, err = st.patch(p.format, uid, rv); err == nil {
				reply, err = s.host.patch(s.withWarnings(ctx, k.about(p.after)), name, body)
			}
		}
		if err != nil {
			return nil, err
		}
		if rv, err = s.acknowledge(reply); err != nil {
			return nil, err
		}
	}
	if p.grace == nil {
		return reply, nil
	}
	deleted, err := s.host.delete(ctx, name, p.grace, uid, rv)
	if err != nil {
		return nil, err
	}
	if deleted == nil { // an old host; reply, if any, has the state before
		s.expectGone(ctx, uid)
		return orig.host, nil
	}
	return deleted, nil
}

// sameVirtual reports whether two objects of the registry are equal, so that
// there is nothing to write. The revision is not the tenant's to set.
func sameVirtual(before, after runtime.Object) bool {
	b, err := meta.Accessor(before)
	if err != nil {
		return false
	}
	a, err := meta.Accessor(after)
	if err != nil {
		return false
	}
	rv := a.GetResourceVersion()
	a.SetResourceVersion(b.GetResourceVersion())
	defer a.SetResourceVersion(rv)
	return apiequality.Semantic.DeepEqual(before, after)
}
