// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package push

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"portico.dev/portico/sync/internal/queue"
)

// byReference indexes pods by the objects that they name.
const byReference = "portico.dev/pods-by-reference"

// listen registers with all informers. An event only ever puts a reference into
// the queue.
func (c *Controller) listen() error {
	core := c.cfg.Informers.Core().V1()
	if err := core.Pods().Informer().AddIndexers(cache.Indexers{byReference: func(obj any) ([]string, error) {
		var keys []string
		if pod, ok := obj.(*corev1.Pod); ok {
			for _, r := range c.references(pod) {
				keys = append(keys, r.key())
			}
		}
		return keys, nil
	}}); err != nil {
		return fmt.Errorf("index pods by their references: %w", err)
	}
	errs := []error{queue.Listen(c.loop, "pods", core.Pods().Informer(), queue.On[*corev1.Pod]{
		Added: c.enqueue,
		Changed: func(old, pod *corev1.Pod) {
			// Only ephemeral containers can add references to a pod.
			if old.UID != pod.UID || len(old.Spec.EphemeralContainers) != len(pod.Spec.EphemeralContainers) {
				c.enqueue(old)
				c.enqueue(pod)
			}
		},
		Deleted: c.enqueue,
	})}
	for _, kind := range c.kinds {
		errs = append(errs, kind.listen(c.loop, c.used))
	}
	return errors.Join(errs...)
}

func (c *Controller) enqueue(pod *corev1.Pod) {
	for _, r := range c.references(pod) {
		c.loop.Add(r)
	}
}

// references are the pushed objects that a pod names.
func (c *Controller) references(pod *corev1.Pod) []reference {
	var refs []reference
	for _, r := range c.cfg.Translator.PodReferences(pod) {
		if c.kinds[r.Kind] != nil {
			refs = append(refs, reference{kind: r.Kind, namespace: pod.Namespace, name: r.Name})
		}
	}
	return refs
}

// used reports whether a pod names the reference or is about to.
func (c *Controller) used(r reference) bool {
	c.mu.Lock()
	pinned := c.pinnedFor(r, c.cfg.Clock.Now())
	c.mu.Unlock()
	if pinned > 0 {
		return true
	}
	users, err := c.pods.IndexKeys(byReference, r.key())
	return err == nil && len(users) > 0
}
