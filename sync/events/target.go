// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package events

import (
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/queue"
)

const (
	// byHostName indexes translated objects by the name that they have on the host.
	byHostName = "portico.dev/by-host-name"
	// Events about an object still come after it has gone: the last containers
	// stop, the last volume is unmounted.
	rememberFor = 5 * time.Minute
	// rememberMost bounds the memory of gone objects.
	rememberMost = 10000
)

// target is a virtual object that a host Event is about.
type target struct {
	Kind, Namespace, Name string
	UID                   types.UID
	// pod is the object if it is a Pod that still exists.
	pod *corev1.Pod
}

// targets finds virtual objects by their host names.
type targets struct {
	translator *rewrite.Translator
	clock      clock.WithTicker
	indexers   map[string]cache.Indexer // by kind

	mu   sync.Mutex
	gone map[goneKey]goneTarget
}

type goneKey struct {
	kind, hostName string
	uid            types.UID
}

type goneTarget struct {
	target
	until time.Time
}

func newTargets(cfg Config, loop *queue.Loop[string]) (*targets, error) {
	t := &targets{translator: cfg.Translator, clock: cfg.Clock, indexers: map[string]cache.Indexer{}, gone: map[goneKey]goneTarget{}}
	core := cfg.Informers.Core().V1()
	kinds := map[string]cache.SharedIndexInformer{
		"Pod":                   core.Pods().Informer(),
		"Service":               core.Services().Informer(),
		"PersistentVolumeClaim": core.PersistentVolumeClaims().Informer(),
	}
	if cfg.Translator.Cluster().ResourceClaims {
		kinds["ResourceClaim"] = cfg.Informers.Resource().V1().ResourceClaims().Informer()
	}
	for kind, informer := range kinds {
		if err := informer.AddIndexers(cache.Indexers{byHostName: func(obj any) ([]string, error) {
			object, ok := obj.(metav1.Object)
			if !ok {
				return nil, nil
			}
			return t.translator.HostNames(kind, object.GetNamespace(), object.GetName()), nil
		}}); err != nil {
			return nil, fmt.Errorf("index %s by host name: %w", kind, err)
		}
		if err := queue.Listen(queue.Always(loop), kind, informer, queue.On[metav1.Object]{
			Deleted: func(obj metav1.Object) { t.remember(kind, obj) },
		}); err != nil {
			return nil, err
		}
		t.indexers[kind] = informer.GetIndexer()
	}
	return t, nil
}

// translates reports whether objects of the kind live on the host.
func (t *targets) translates(kind string) bool { return t.indexers[kind] != nil }

// find returns the virtual object behind a host object reference.
func (t *targets) find(ref corev1.ObjectReference) (target, bool) {
	indexer := t.indexers[ref.Kind]
	if indexer == nil || ref.Namespace != t.translator.Cluster().HostNamespace {
		return target{}, false
	}
	if found, ok := lookup(indexer, ref.Kind, ref.Name, ref.UID); ok {
		return found, true
	}
	// Without a uid nothing distinguishes a gone object from the next of its
	// name.
	if ref.UID == "" {
		return target{}, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	found, ok := t.gone[goneKey{ref.Kind, ref.Name, ref.UID}]
	if !ok || t.clock.Now().After(found.until) {
		return target{}, false
	}
	return found.target, true
}

// named returns the existing virtual object of any translated kind that has a
// host name.
func (t *targets) named(hostName string) (target, bool) {
	for kind, indexer := range t.indexers {
		if found, ok := lookup(indexer, kind, hostName, ""); ok {
			return found, true
		}
	}
	return target{}, false
}

// lookup finds the object that has a host name, and the uid if that is not empty.
// Former names are not injective: of two objects, only the uid says which.
func lookup(indexer cache.Indexer, kind, hostName string, uid types.UID) (target, bool) {
	objects, err := indexer.ByIndex(byHostName, hostName)
	if err != nil || uid == "" && len(objects) > 1 {
		return target{}, false
	}
	for _, obj := range objects {
		if object, ok := obj.(metav1.Object); ok && (uid == "" || uid == object.GetUID()) {
			return newTarget(kind, object), true
		}
	}
	return target{}, false
}

func newTarget(kind string, object metav1.Object) target {
	found := target{Kind: kind, Namespace: object.GetNamespace(), Name: object.GetName(), UID: object.GetUID()}
	found.pod, _ = object.(*corev1.Pod)
	return found
}

// remember keeps the identity of an object that has gone.
func (t *targets) remember(kind string, object metav1.Object) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	if len(t.gone) >= rememberMost {
		for key, old := range t.gone {
			if now.After(old.until) {
				delete(t.gone, key)
			}
		}
	}
	if len(t.gone) >= rememberMost {
		return // a burst of deletions: rather miss their last Events than grow
	}
	found := newTarget(kind, object)
	found.pod = nil
	for _, hostName := range t.translator.HostNames(kind, found.Namespace, found.Name) {
		t.gone[goneKey{kind, hostName, found.UID}] = goneTarget{found, now.Add(rememberFor)}
	}
}
