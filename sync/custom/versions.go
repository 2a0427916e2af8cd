// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package custom

import (
	"context"
	"sync"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// kind is one whose objects are copied in either direction.
type kind struct {
	resource schema.GroupResource
	versions []string
	builtin  bool
	scope    apiextensionsv1.ResourceScope

	host, virtual apiextensions.Interface
	informers     sharedInformers
	clock         clock.WithTicker
	// ready is called with the definition inside, whenever it is in step. It may be
	// nil.
	ready func(context.Context, *apiextensionsv1.CustomResourceDefinition)
}

// run works until ctx ends, again whenever objects are to be written in another
// version: that which the definition inside stores, or, of a kind of Kubernetes
// itself, the first of versions.
func (k *kind) run(ctx context.Context, work func(context.Context, schema.GroupVersionResource) error) error {
	var running sync.WaitGroup
	defer running.Wait()
	versions := make(chan string, 1)
	if k.builtin {
		newest(versions, k.versions[0])
	} else {
		d := &definition{
			name: k.resource.String(), versions: k.versions, scope: k.scope, host: k.host, virtual: k.virtual,
			ready: func(ctx context.Context, shown *apiextensionsv1.CustomResourceDefinition) {
				if k.ready != nil {
					k.ready(ctx, shown)
				}
				newest(versions, storageVersion(shown))
			},
		}
		if err := d.start(k.clock); err != nil {
			return err
		}
		running.Go(func() { _ = d.run(ctx, k.informers) })
	}
	eachVersion(ctx, versions, func(ctx context.Context, version string) {
		resource := k.resource.WithVersion(version)
		if err := work(ctx, resource); err != nil {
			klog.FromContext(ctx).Error(err, "Objects of a custom kind are not copied", "resource", resource)
		}
	})
	return nil
}

// newest keeps the newest version, until somebody takes it.
func newest(to chan string, version string) {
	for {
		select {
		case to <- version:
			return
		default:
		}
		select {
		case <-to:
		default:
		}
	}
}

// eachVersion works for a version until another comes, or ctx ends.
func eachVersion(ctx context.Context, versions <-chan string, work func(context.Context, string)) {
	var last string
	var running sync.WaitGroup
	stop := func() {}
	defer func() {
		stop()
		running.Wait()
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case version := <-versions:
			if version == last {
				continue
			}
			stop()
			running.Wait()
			last = version
			of, cancel := context.WithCancel(ctx)
			stop = cancel
			running.Go(func() { work(of, version) })
		}
	}
}
