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

	"portico.dev/portico/sync/internal/queue"
)

// byNode indexes pods by the node they are on.
const byNode = "portico.dev/pods-by-node"

// usage knows which nodes run pods of the virtual cluster, and since when one
// does not.
type usage struct {
	pods   cache.Indexer
	clock  clock.Clock
	linger time.Duration
	idle   sync.Map // node name -> time.Time since when no pod uses it
}

// newUsage asks the loop for a look at a node whenever a pod comes to it, leaves it
// or learns its address.
func newUsage(shared informers.SharedInformerFactory, c clock.Clock, linger time.Duration, loop *queue.Loop[string]) (*usage, error) {
	pods := shared.Core().V1().Pods().Informer()
	u := &usage{pods: pods.GetIndexer(), clock: c, linger: linger}
	if err := pods.AddIndexers(cache.Indexers{byNode: indexByNode}); err != nil {
		return nil, fmt.Errorf("index pods by node: %w", err)
	}
	look := func(pod *corev1.Pod) {
		if pod.Spec.NodeName != "" {
			loop.Add(pod.Spec.NodeName)
		}
	}
	return u, queue.Listen(loop, "pods", pods, queue.On[*corev1.Pod]{Added: look, Deleted: look, Changed: func(old, pod *corev1.Pod) {
		if old.Spec.NodeName != pod.Spec.NodeName || old.Status.HostIP != pod.Status.HostIP {
			look(pod)
		}
	}})
}

func indexByNode(obj any) ([]string, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok || pod.Spec.NodeName == "" {
		return nil, nil
	}
	return []string{pod.Spec.NodeName}, nil
}

// podsOn returns the pods that are on a node. As long as there is one, the node
// is not idle.
func (u *usage) podsOn(node string) ([]any, error) {
	pods, err := u.pods.ByIndex(byNode, node)
	if err == nil && len(pods) > 0 {
		u.idle.Delete(node)
	}
	return pods, err
}

// remaining returns how long a node without pods is still kept. The time at which
// its last pod left is in memory only: after a restart the wait begins again, which
// does no harm.
func (u *usage) remaining(node string) time.Duration {
	now := u.clock.Now()
	since, _ := u.idle.LoadOrStore(node, now)
	return since.(time.Time).Add(u.linger).Sub(now)
}

// forget drops the record of a node that is gone.
func (u *usage) forget(node string) { u.idle.Delete(node) }
