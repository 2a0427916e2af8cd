// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package push

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// byReference indexes pods by the objects that they name.
const byReference = "portico.dev/pods-by-reference"

// listen registers with all informers. An event only ever puts a reference into the queue.
func (p *Pusher) listen() error {
	core := p.cfg.Informers.Core().V1()
	if err := core.Pods().Informer().AddIndexers(cache.Indexers{byReference: func(obj any) ([]string, error) {
		var keys []string
		for _, r := range p.references(obj) {
			keys = append(keys, r.key())
		}
		return keys, nil
	}}); err != nil {
		return fmt.Errorf("index pods by what they name: %w", err)
	}
	for _, source := range []struct {
		what     string
		informer cache.SharedIndexInformer
		handler  cache.ResourceEventHandler
	}{
		{"pods", core.Pods().Informer(), p.podHandler()},
		{"secrets", core.Secrets().Informer(), p.virtualHandler(kindSecret)},
		{"configmaps", core.ConfigMaps().Informer(), p.virtualHandler(kindConfigMap)},
		{"pushed secrets", p.view.Core().V1().Secrets().Informer(), p.hostHandler(kindSecret)},
		{"pushed configmaps", p.view.Core().V1().ConfigMaps().Informer(), p.hostHandler(kindConfigMap)},
	} {
		registration, err := source.informer.AddEventHandler(source.handler)
		if err != nil {
			return fmt.Errorf("listen to %s: %w", source.what, err)
		}
		p.synced = append(p.synced, registration.HasSynced)
	}
	return nil
}

// references are the pushed objects that a pod names.
func (p *Pusher) references(obj any) []reference {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return nil
	}
	var refs []reference
	for _, r := range p.cfg.Translator.PodReferences(pod) {
		if r.Kind == kindSecret || r.Kind == kindConfigMap {
			refs = append(refs, reference{kind: r.Kind, namespace: pod.Namespace, name: r.Name})
		}
	}
	return refs
}

func (p *Pusher) podHandler() cache.ResourceEventHandler {
	add := func(refs []reference) {
		for _, r := range refs {
			p.queue.Add(r)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { add(p.references(obj)) },
		UpdateFunc: func(old, obj any) {
			// Only ephemeral containers can add references to a pod.
			before, ok := old.(*corev1.Pod)
			after, ok2 := obj.(*corev1.Pod)
			if ok && ok2 && before.UID == after.UID && len(before.Spec.EphemeralContainers) == len(after.Spec.EphemeralContainers) {
				return
			}
			add(slices.Concat(p.references(old), p.references(obj)))
		},
		DeleteFunc: func(obj any) { add(p.references(final(obj))) },
	}
}

// virtualHandler concerns itself with the objects that a pod names or that are on the host already; most are neither.
func (p *Pusher) virtualHandler(kind string) cache.ResourceEventHandler {
	add := func(obj any) {
		object, ok := final(obj).(metav1.Object)
		if !ok {
			return
		}
		r := reference{kind: kind, namespace: object.GetNamespace(), name: object.GetName()}
		if p.used(r) || p.kinds[kind].known(r) {
			p.queue.Add(r)
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, obj any) { add(obj) }, DeleteFunc: add}
}

// hostHandler notices copies that are left over, changed or gone. What is not a copy of ours is not looked at.
func (p *Pusher) hostHandler(kind string) cache.ResourceEventHandler {
	add := func(obj any) {
		object, ok := final(obj).(metav1.Object)
		if !ok {
			return
		}
		namespace, name, err := p.cfg.Translator.Identify(kind, object)
		if err != nil {
			return
		}
		p.queue.Add(reference{kind: kind, namespace: namespace, name: name})
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, obj any) { add(obj) }, DeleteFunc: add}
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

// final unwraps an object whose deletion was missed.
func final(obj any) any {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		return gone.Obj
	}
	return obj
}
