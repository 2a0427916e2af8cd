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
func (p *Pusher) listen() error {
	core := p.cfg.Informers.Core().V1()
	if err := core.Pods().Informer().AddIndexers(cache.Indexers{byReference: func(obj any) ([]string, error) {
		var keys []string
		if pod, ok := obj.(*corev1.Pod); ok {
			for _, r := range p.references(pod) {
				keys = append(keys, r.key())
			}
		}
		return keys, nil
	}}); err != nil {
		return fmt.Errorf("index pods by their references: %w", err)
	}
	errs := []error{queue.Listen(p.loop, "pods", core.Pods().Informer(), queue.On[*corev1.Pod]{
		Added: p.enqueue,
		Changed: func(old, pod *corev1.Pod) {
			// Only ephemeral containers can add references to a pod.
			if old.UID != pod.UID || len(old.Spec.EphemeralContainers) != len(pod.Spec.EphemeralContainers) {
				p.enqueue(old)
				p.enqueue(pod)
			}
		},
		Deleted: p.enqueue,
	})}
	for _, kind := range p.kinds {
		errs = append(errs, kind.listen(p.loop, p.used))
	}
	return errors.Join(errs...)
}

func (p *Pusher) enqueue(pod *corev1.Pod) {
	for _, r := range p.references(pod) {
		p.loop.Add(r)
	}
}

// references are the pushed objects that a pod names.
func (p *Pusher) references(pod *corev1.Pod) []reference {
	var refs []reference
	for _, r := range p.cfg.Translator.PodReferences(pod) {
		if p.kinds[r.Kind] != nil {
			refs = append(refs, reference{kind: r.Kind, namespace: pod.Namespace, name: r.Name})
		}
	}
	return refs
}

// used reports whether a pod names the reference or is about to.
func (p *Pusher) used(r reference) bool {
	p.mu.Lock()
	pinned := p.pinnedFor(r, p.cfg.Clock.Now())
	p.mu.Unlock()
	if pinned > 0 {
		return true
	}
	users, err := p.pods.IndexKeys(byReference, r.key())
	return err == nil && len(users) > 0
}
