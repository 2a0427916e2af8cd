// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
)

// state is an object as a write found it.
type state struct {
	virtual runtime.Object // as the registry has it
	host    runtime.Object // nil when the object does not exist; not to be changed
	rv      uint64         // 0 then
	corrupt bool           // the overlay

	// shownAs are revisions that a request may take this state for, besides its
	// own: see superseded.go.
	shownAs []uint64

	// current: read from the host for this write, not remembered from before.
	current bool
}

// remembered returns the state of an object without asking the host, if that is
// possible. suggestion is the cache's object, and saves a translation where it
// is of the same revision.
func (s *Storage) remembered(ctx context.Context, k key, ignoreNotFound bool, suggestion runtime.Object) (*state, error) {
	_, e, ok := s.entry(k)
	if !ok {
		return s.read(ctx, k, ignoreNotFound)
	}
	st := &state{rv: e.rv, corrupt: e.corrupt, shownAs: e.shownAs(s.cfg.Clock.Now())}
	if e.pair != nil {
		st.host = e.pair.host
	} else {
		st.host = s.kind.new()
		if err := e.unpack(st.host); err != nil {
			return s.read(ctx, k, ignoreNotFound)
		}
	}
	if suggestion != nil {
		if rv, err := s.versioner.ObjectResourceVersion(suggestion); err == nil && rv == e.rv {
			st.virtual = suggestion
			return st, nil
		}
	}
	if e.pair != nil {
		st.virtual = e.pair.virtual.DeepCopyObject()
		return st, nil
	}
	st.virtual = s.newFunc()
	if _, err := s.show(ctx, st.host, st.virtual); err != nil {
		return s.read(ctx, k, ignoreNotFound)
	}
	return st, nil
}

// read returns the state of an object as the host has it.
func (s *Storage) read(ctx context.Context, k key, ignoreNotFound bool) (*state, error) {
	st := &state{virtual: s.newFunc(), current: true}
	h, err := s.find(ctx, k, "")
	if err == nil {
		st.host = h
		err = s.restore(ctx, h, st.virtual)
	}
	if err = s.interpretRead(ctx, err, k); err != nil {
		if storage.IsNotFound(err) {
			s.forget(k)
			if ignoreNotFound {
				return &state{virtual: s.newFunc(), current: true}, nil
			}
		}
		return nil, err
	}
	m, err := meta.Accessor(st.host)
	if err != nil {
		return nil, err
	}
	if st.rv, err = s.versioner.ParseResourceVersion(m.GetResourceVersion()); err != nil {
		return nil, err
	}
	if e, ok := s.shown.get(m.GetName()); ok && e.uid == m.GetUID() {
		st.corrupt = e.corrupt
		if e.rv == st.rv {
			st.shownAs = e.shownAs(s.cfg.Clock.Now())
		}
	}
	return st, nil
}

// wished returns an update of an object as its tenant means it, in the version
// that the host speaks, and the inputs of its translation.
func (s *Storage) wished(ctx context.Context, orig *state, updated runtime.Object) (v runtime.Object, in rewrite.Inputs, err error) {
	if v, err = s.toVersioned(updated); err != nil {
		return nil, in, err
	}
	if v, err = s.withoutLooks(ctx, orig, v); err != nil {
		return nil, in, err
	}
	in = s.cfg.Inputs(ctx, v)
	in.Host, in.Seen, err = s.found(orig)
	return v, in, err
}

// found returns the two forms of an object for the translation of an update. seen
// is nil where the virtual one is not the translation of the host's alone.
func (s *Storage) found(orig *state) (host, seen runtime.Object, err error) {
	if orig.corrupt || s.kind.complete != nil || s.cfg.Hooks.Shows(s.kind.resource) {
		return orig.host, nil, nil
	}
	seen, err = s.toVersioned(orig.virtual)
	return orig.host, seen, err
}

// interpretRead is interpret for a read, which also meets objects that are not
// this cluster's. They are not there for a tenant.
func (s *Storage) interpretRead(ctx context.Context, err error, k key) error {
	if errors.Is(err, rewrite.ErrForeign) {
		klog.FromContext(ctx).V(2).Info("Host object has the name of a virtual one but is not of this cluster",
			"resource", s.kind.resource, "virtualObject", k.ref(), "err", err)
		return storage.NewKeyNotFoundError(k.path, 0)
	}
	return s.interpret(ctx, err, k)
}

// Get implements storage.Interface by asking the host.
func (s *Storage) Get(ctx context.Context, path string, opts storage.GetOptions, objPtr runtime.Object) error {
	k, err := s.parse(path)
	if err != nil {
		return err
	}
	h, err := s.find(ctx, k, opts.ResourceVersion)
	if err == nil {
		err = s.restore(ctx, h, objPtr)
	}
	err = s.interpretRead(ctx, err, k)
	if opts.IgnoreNotFound && storage.IsNotFound(err) {
		reflect.ValueOf(objPtr).Elem().SetZero()
		return nil
	}
	return err
}

// assign sets destination, a pointer to a zero object, to obj.
func assign(destination, obj runtime.Object) error {
	to := reflect.ValueOf(destination).Elem()
	from := reflect.ValueOf(obj).Elem()
	if to.Type() != from.Type() {
		return fmt.Errorf("cannot assign %T to %T", obj, destination)
	}
	to.Set(from)
	return nil
}

// isExpired reports whether the host no longer has the history that a list or
// a watch asked for.
func isExpired(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err)
}

func formatRV(rv uint64) string { return strconv.FormatUint(rv, 10) }
