// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package push

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/client-go/tools/cache"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/queue"
)

// byReference indexes pods and Ingresses by the objects that they name.
const byReference = "portico.dev/by-reference"

// listen registers with all informers. An event only ever puts a reference into
// the queue.
func (c *Controller) listen() error {
	pods := c.cfg.Informers.Core().V1().Pods().Informer()
	if err := index(c, pods, c.references); err != nil {
		return fmt.Errorf("index pods by their references: %w", err)
	}
	errs := []error{c.listenToIngresses(), queue.Listen(c.loop, "pods", pods, queue.On[*corev1.Pod]{
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
	users, err := c.users(r)
	return err == nil && users
}

// users reports whether anything names the reference.
func (c *Controller) users(r reference) (bool, error) {
	for _, named := range c.named {
		if keys, err := named.IndexKeys(byReference, r.key()); err != nil || len(keys) > 0 {
			return err == nil, err
		}
	}
	return c.cfg.Uses != nil && c.cfg.Uses(r.kind, r.namespace, r.name), nil
}

// index makes users know the references of an informer's objects.
func index[T any](c *Controller, informer cache.SharedIndexInformer, references func(T) []reference) error {
	c.named = append(c.named, informer.GetIndexer())
	return informer.AddIndexers(cache.Indexers{byReference: func(obj any) ([]string, error) {
		var keys []string
		if of, ok := obj.(T); ok {
			for _, r := range references(of) {
				keys = append(keys, r.key())
			}
		}
		return keys, nil
	}})
}

// listenToIngresses is about those that are on the host.
func (c *Controller) listenToIngresses() error {
	if c.cfg.Ingresses == nil {
		return nil
	}
	references := func(i *networkingv1.Ingress) (refs []reference) {
		if c.cfg.Ingresses(i) {
			for _, r := range rewrite.IngressReferences(i) {
				refs = append(refs, reference{kind: r.Kind, namespace: i.Namespace, name: r.Name})
			}
		}
		return refs
	}
	enqueue := func(i *networkingv1.Ingress) {
		for _, r := range references(i) {
			c.loop.Add(r)
		}
	}
	informer := c.cfg.Informers.Networking().V1().Ingresses().Informer()
	if err := index(c, informer, references); err != nil {
		return fmt.Errorf("index Ingresses by their references: %w", err)
	}
	return queue.Listen(c.loop, "ingresses", informer, queue.On[*networkingv1.Ingress]{
		Added: enqueue, Deleted: enqueue,
		Changed: func(old, i *networkingv1.Ingress) {
			enqueue(old)
			enqueue(i)
		},
	})
}
