// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
)

// Delegator stands on upstream's cache and answers reads that want the latest
// state from it, once it has caught up with every write that was acknowledged
// through this door (D4 in docs/decisions.md). Upstream asks the storage for those.
//
//	resourceVersion  answered from
//	""               the cache at the revision of the last acknowledged write;
//	                 503 when it has lost its host for too long; the host when
//	                 it is not ready or does not catch up, and when Strict
//	"0"              the cache as it is, always
//	other            the cache, as upstream does it
type Delegator struct {
	*cacher.CacheDelegator
	host *Storage
}

var _ storage.Interface = (*Delegator)(nil)

// NewDelegator returns a Delegator over upstream's, which must stand on h.
func NewDelegator(upstream *cacher.CacheDelegator, h *Storage) *Delegator {
	return &Delegator{CacheDelegator: upstream, host: h}
}

type readerKey struct{}

// asReader marks a context as that of a read through the Delegator, as opposed
// to one of the cache's own.
func asReader(ctx context.Context) context.Context {
	return context.WithValue(ctx, readerKey{}, true)
}

// isFilling reports whether a list is the cache's own, with which it fills
// itself.
func isFilling(ctx context.Context) bool { return ctx.Value(readerKey{}) == nil }

// latest returns the revision that the cache has to answer at, and false when
// the host has to be asked instead.
func (d *Delegator) latest(ctx context.Context) (rv string, fromCache bool, err error) {
	if d.host.cfg.Strict || d.CacheDelegator.ReadinessCheck() != nil {
		return "", false, nil
	}
	if err := d.host.Fresh(); err != nil {
		return "", false, err
	}
	if !d.host.revisions.settle(ctx) {
		return "", false, nil
	}
	return formatRV(d.host.revisions.current()), true, nil
}

// behind reports whether the cache did not catch up in time, or stopped being
// ready meanwhile.
func behind(err error) bool {
	return storage.IsTooLargeResourceVersion(err) || apierrors.IsTooManyRequests(err)
}

// Get implements storage.Interface.
func (d *Delegator) Get(ctx context.Context, key string, opts storage.GetOptions, objPtr runtime.Object) error {
	ctx = asReader(ctx)
	if opts.ResourceVersion != "" {
		return d.CacheDelegator.Get(ctx, key, opts, objPtr)
	}
	rv, fromCache, err := d.latest(ctx)
	if err != nil {
		return err
	}
	if fromCache {
		cached := opts
		cached.ResourceVersion = rv
		if err := d.CacheDelegator.Get(ctx, key, cached, objPtr); !behind(err) {
			if err == nil {
				own(objPtr)
			}
			return err
		}
	}
	return d.host.Get(ctx, key, opts, objPtr)
}

// own replaces the parts of objPtr that it shares with the cache by copies:
// callers of a read of the latest state expect an object of their own.
func own(objPtr runtime.Object) {
	reflect.ValueOf(objPtr).Elem().Set(reflect.ValueOf(objPtr.DeepCopyObject()).Elem())
}

// GetList implements storage.Interface.
func (d *Delegator) GetList(ctx context.Context, key string, opts storage.ListOptions, listObj runtime.Object) error {
	ctx = asReader(ctx)
	if opts.ResourceVersion != "" || opts.ResourceVersionMatch != "" || opts.Predicate.Continue != "" {
		return d.CacheDelegator.GetList(ctx, key, opts, listObj)
	}
	rv, fromCache, err := d.latest(ctx)
	if err != nil {
		return err
	}
	if fromCache {
		cached := opts
		cached.ResourceVersion = rv
		cached.ResourceVersionMatch = metav1.ResourceVersionMatchNotOlderThan
		if err := d.CacheDelegator.GetList(ctx, key, cached, listObj); !behind(err) {
			return err
		}
	}
	return d.host.GetList(ctx, key, opts, listObj)
}

// Watch implements storage.Interface. A watch that begins with the latest
// state is a read of it.
func (d *Delegator) Watch(ctx context.Context, key string, opts storage.ListOptions) (watch.Interface, error) {
	if opts.ResourceVersion == "" && opts.SendInitialEvents != nil && *opts.SendInitialEvents {
		if err := d.host.Fresh(); err != nil {
			return nil, err
		}
		if d.host.cfg.Strict {
			if err := d.host.expectPresent(ctx); err != nil {
				return nil, err
			}
		}
		d.host.revisions.settle(ctx)
	}
	return d.CacheDelegator.Watch(ctx, key, opts)
}

// expectPresent makes reads of the cache wait until it shows the host's present
// state. The revision of a host list alone would not do: it moves with foreign
// objects too, and no event would bring the cache there.
func (s *Storage) expectPresent(ctx context.Context) error {
	h, err := s.host.list(ctx, metav1.ListOptions{LabelSelector: s.cfg.Translator.ScopeSelector().String()})
	if err != nil {
		return s.interpret(ctx, err, key{path: s.prefix})
	}
	at, err := listRV(s.versioner, h)
	if err != nil {
		return err
	}
	present := map[types.UID]bool{}
	err = meta.EachListItem(h, func(o runtime.Object) error {
		m, err := meta.Accessor(o)
		if err != nil {
			return err
		}
		rv, err := s.versioner.ParseResourceVersion(m.GetResourceVersion())
		if err != nil {
			return err
		}
		present[m.GetUID()] = true
		s.revisions.ack(rv)
		return nil
	})
	if err != nil {
		return err
	}
	for _, uid := range s.shown.until(at) {
		if !present[uid] {
			s.revisions.expectGone(uid)
		}
	}
	return nil
}
