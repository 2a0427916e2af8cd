// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"path"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
	"k8s.io/apiserver/pkg/storage/etcd3"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/apiserver/pkg/storage/value/encrypt/identity"
	"k8s.io/client-go/tools/cache"

	"portico.dev/portico/proxy/host"
	"portico.dev/portico/proxy/internal/watermark"
	"portico.dev/portico/store"
)

// hostBacked reports whether the objects of a resource are the host's.
// Everything else is in the cluster's own backend.
func (s *storages) hostBacked(gr schema.GroupResource) bool {
	return s.host != nil && host.Translates(s.host.Translator.Cluster(), gr)
}

// storages decides which storage stands under which resource. It is the one
// place where Portico's storage and upstream's generic registry meet.
type storages struct {
	backend store.Backend
	host    *Host // nil in an ordinary cluster
}

// wrap returns a getter that gives every resource a storage of ours, and
// leaves everything else that upstream configured as it is.
func (s *storages) wrap(upstream generic.RESTOptionsGetter) generic.RESTOptionsGetter {
	return restOptions{RESTOptionsGetter: upstream, storages: s}
}

type restOptions struct {
	generic.RESTOptionsGetter
	storages *storages
}

// GetRESTOptions implements generic.RESTOptionsGetter.
func (r restOptions) GetRESTOptions(gr schema.GroupResource, example runtime.Object) (generic.RESTOptions, error) {
	o, err := r.RESTOptionsGetter.GetRESTOptions(gr, example)
	if err != nil {
		return o, err
	}
	// Upstream switches the watch cache off for some resources (events) by
	// choosing another decorator, the only difference that can be seen here.
	cached := cachedByUpstream(gr)
	o.Decorator = func(c *storagebackend.ConfigForResource, prefix string, keyFunc func(runtime.Object) (string, error),
		newFunc, newListFunc func() runtime.Object, attrs storage.AttrFunc, triggers storage.IndexerFuncs, indexers *cache.Indexers,
	) (storage.Interface, factory.DestroyFunc, error) {
		raw, closeRaw, err := r.storages.raw(c, prefix, newFunc, newListFunc)
		if err != nil {
			return nil, nil, err
		}
		if !cached {
			return raw, closeRaw, nil
		}
		cc, err := cacher.NewCacherFromConfig(cacher.Config{
			Storage:             raw,
			Versioner:           storage.APIObjectVersioner{},
			GroupResource:       c.GroupResource,
			EventsHistoryWindow: c.EventsHistoryWindow,
			ResourcePrefix:      prefix,
			KeyFunc:             keyFunc,
			NewFunc:             newFunc,
			NewListFunc:         newListFunc,
			GetAttrsFunc:        attrs,
			IndexerFuncs:        triggers,
			Indexers:            indexers,
			Codec:               c.Codec,
		})
		if err != nil {
			closeRaw()
			return nil, nil, err
		}
		delegator := cacher.NewCacheDelegator(cc, raw)
		destroy := func() {
			delegator.Stop()
			cc.Stop()
			closeRaw()
		}
		if h, ok := raw.(*host.Storage); ok {
			return host.NewDelegator(delegator, h), destroy, nil
		}
		return delegator, destroy, nil
	}
	return o, nil
}

// cachedByUpstream follows DefaultWatchCacheSizes in
// pkg/kubeapiserver/default_storage_factory_builder.go, where a size of 0
// means no watch cache: events are written far more often than watched.
func cachedByUpstream(gr schema.GroupResource) bool {
	return gr.Resource != "events"
}

// raw makes the storage that stands under the watch cache of one resource. It
// is closed once, however often: resources share it with their subresources.
func (s *storages) raw(c *storagebackend.ConfigForResource, prefix string, newFunc, newListFunc func() runtime.Object) (storage.Interface, factory.DestroyFunc, error) {
	if s.hostBacked(c.GroupResource) {
		return host.NewStorage(s.host.Config, c.GroupResource, prefix, newFunc, newListFunc), func() {}, nil
	}
	transformer := c.Transformer
	if transformer == nil {
		transformer = identity.NewEncryptCheckTransformer()
	}
	versioner := storage.APIObjectVersioner{}
	// The backend compacts by itself and says how far; upstream's own
	// compactor would dial an etcd of its own.
	own, err := etcd3.New(s.backend.Client(), s.backend, c.Codec, newFunc, newListFunc, c.Prefix, prefix,
		c.GroupResource, transformer, c.LeaseManagerConfig, etcd3.NewDefaultDecoder(c.Codec, versioner), versioner)
	if err != nil {
		return nil, nil, err
	}
	closeOwn := sync.OnceFunc(own.Close)
	exclusive, ok := s.backend.(store.Exclusive)
	if !ok {
		return own, closeOwn, nil
	}
	return &scoped{
		Interface: own,
		backend:   exclusive,
		resource:  prefix,
		keys:      strings.TrimSuffix(path.Join("/", c.Prefix, prefix), "/") + "/",
	}, closeOwn, nil
}

// scoped answers GetCurrentResourceVersion with the revision of the last
// change to this resource instead of the last change to anything. It needs a
// backend that no other process writes to.
//
// A consistent LIST waits until its watch cache has seen the current revision.
// With the global one, each write to any other resource makes it wait for the
// next progress notification, up to 100 ms
// (k8s.io/apiserver/pkg/storage/cacher/progress). The contents of a prefix at
// its own last revision are its contents at the global one, so the read stays
// linearizable and the cache is nearly always there already.
//
// INVARIANT: the answer is never below the revision that the watch cache was
// last filled at, or a watch from "now" would ask for the cache's past.
type scoped struct {
	storage.Interface
	backend  store.Exclusive
	resource string // as in keys that upstream passes: /configmaps
	keys     string // as in the backend: /registry/configmaps/
	filledAt watermark.Mark
}

// GetCurrentResourceVersion implements storage.Interface.
func (s *scoped) GetCurrentResourceVersion(context.Context) (uint64, error) {
	return max(uint64(s.backend.PrefixRevision(s.keys)), s.filledAt.Load()), nil
}

// GetList implements storage.Interface. It notes the revision when the caller
// is the watch cache filling itself, which is the only one to come without a
// request.
func (s *scoped) GetList(ctx context.Context, key string, opts storage.ListOptions, list runtime.Object) error {
	if err := s.Interface.GetList(ctx, key, opts, list); err != nil {
		return err
	}
	if _, ofRequest := request.RequestInfoFrom(ctx); ofRequest || strings.TrimSuffix(key, "/") != strings.TrimSuffix(s.resource, "/") {
		return nil
	}
	m, err := meta.ListAccessor(list)
	if err != nil {
		return nil
	}
	if rv, err := s.Versioner().ParseResourceVersion(m.GetResourceVersion()); err == nil {
		s.filledAt.Raise(rv)
	}
	return nil
}

// IsWatchListSemanticsUnSupported makes the watch cache fill itself with
// GetList, where filledAt is noted, rather than with a streamed watch.
func (s *scoped) IsWatchListSemanticsUnSupported() bool { return true }
