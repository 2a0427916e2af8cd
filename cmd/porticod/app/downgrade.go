// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"cmp"
	"context"
	"fmt"

	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/component-base/version"

	"portico.dev/portico/store"
)

// newestKey is the key of the newest Kubernetes that served from a store, below
// the prefix of the cluster. No object has such a key: all of them have a slash
// after the name of their resource or group.
const newestKey = "/portico-newest"

// guarded opens a store that this version's API can read. Upstream promises that
// a minor version reads the objects of the next one, so that a failed upgrade can
// be taken back, and of no later one.
func guarded(open storeOpener, prefix string) storeOpener {
	return func(ctx context.Context) (store.Backend, error) {
		backend, err := open(ctx)
		if err != nil {
			return nil, err
		}
		key := cmp.Or(prefix, "/registry") + newestKey
		if err := refuseDowngrade(ctx, backend.Client().Kubernetes, key, version.DefaultKubeBinaryVersion); err != nil {
			_ = backend.Close() // The reason is more of a help.
			return nil, err
		}
		return backend, nil
	}
}

// refuseDowngrade fails if a Kubernetes that is newer by more than a minor version
// has served from the store, and else writes down that this one does.
func refuseDowngrade(ctx context.Context, kv etcdk8s.Interface, key, own string) error {
	ours, err := utilversion.ParseGeneric(own)
	if err != nil {
		return fmt.Errorf("version of this program: %w", err)
	}
	for {
		found, err := kv.Get(ctx, key, etcdk8s.GetOptions{})
		if err != nil {
			return fmt.Errorf("read the store's version: %w", err)
		}
		var revision int64
		if found.KV != nil {
			newest, err := utilversion.ParseGeneric(string(found.KV.Value))
			if err != nil {
				return fmt.Errorf("the store's version %q: %w", found.KV.Value, store.ErrCorrupt)
			}
			if newest.Major() != ours.Major() || newest.Minor() > ours.Minor()+1 {
				return withHint(fmt.Errorf("open store: Kubernetes %s has served from it, and this is %s: %w", found.KV.Value, own, store.ErrNewerSchema),
					"start the version of porticod that wrote it, or restore a snapshot of before")
			}
			if !newest.LessThan(ours) {
				return nil
			}
			revision = found.KV.ModRevision
		}
		put, err := kv.OptimisticPut(ctx, key, []byte(own), revision, etcdk8s.PutOptions{})
		if err != nil {
			return fmt.Errorf("write the store's version: %w", err)
		}
		if put.Succeeded {
			return nil
		}
		// Another replica was faster.
	}
}
