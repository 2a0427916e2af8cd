// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// byNode indexes pods by the node they are on.
const byNode = "portico.dev/pods-by-node"

// usage knows which nodes run pods of the virtual cluster, and since when one does not.
type usage struct {
	pods   cache.Indexer
	clock  clock.Clock
	linger time.Duration
	idle   sync.Map // node name -> time.Time since when no pod uses it
	synced cache.InformerSynced
}

// newUsage calls changed with the name of a node whenever a pod comes to it, leaves it or learns its address.
func newUsage(shared informers.SharedInformerFactory, c clock.Clock, linger time.Duration, changed func(string)) (*usage, error) {
	pods := shared.Core().V1().Pods().Informer()
	u := &usage{pods: pods.GetIndexer(), clock: c, linger: linger}
	if err := pods.AddIndexers(cache.Indexers{byNode: indexByNode}); err != nil {
		return nil, fmt.Errorf("index pods by node: %w", err)
	}
	nodeOf := func(obj any) {
		if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = gone.Obj
		}
		if pod, ok := obj.(*corev1.Pod); ok && pod.Spec.NodeName != "" {
			changed(pod.Spec.NodeName)
		}
	}
	events, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: nodeOf,
		UpdateFunc: func(old, obj any) {
			if moved(old, obj) {
				nodeOf(obj)
			}
		},
		DeleteFunc: nodeOf,
	})
	if err != nil {
		return nil, fmt.Errorf("listen to pods: %w", err)
	}
	u.synced = events.HasSynced
	return u, nil
}

func indexByNode(obj any) ([]string, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok || pod.Spec.NodeName == "" {
		return nil, nil
	}
	return []string{pod.Spec.NodeName}, nil
}

// moved is false for the updates that do not concern nodes, which is nearly all of them.
func moved(old, obj any) bool {
	before, ok := old.(*corev1.Pod)
	after, ok2 := obj.(*corev1.Pod)
	return ok && ok2 && (before.Spec.NodeName != after.Spec.NodeName || before.Status.HostIP != after.Status.HostIP)
}

// podsOn returns the pods that are on a node. As long as there is one, the node is not idle.
func (u *usage) podsOn(node string) ([]any, error) {
	pods, err := u.pods.ByIndex(byNode, node)
	if err == nil && len(pods) > 0 {
		u.idle.Delete(node)
	}
	return pods, err
}

// remaining says how long a node without pods is still kept. When its last pod left is remembered in memory only: after a
// restart the wait begins anew, which harms nobody.
func (u *usage) remaining(node string) time.Duration {
	now := u.clock.Now()
	since, _ := u.idle.LoadOrStore(node, now)
	return since.(time.Time).Add(u.linger).Sub(now)
}

// forget drops what is remembered of a node that is gone.
func (u *usage) forget(node string) { u.idle.Delete(node) }
