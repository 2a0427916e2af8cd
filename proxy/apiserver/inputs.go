// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"

	"portico.dev/portico/proxy/host"
	"portico.dev/portico/rewrite"
)

// inputs gives a translation the facts about the virtual cluster that it needs
// besides the object itself, from the server's own informers. An informer that
// is behind is harmless here: sync/nslabels refreshes a namespace's labels on
// its pods when they change. If an informer lacks the namespace, the API is asked.
type inputs struct {
	client     kubernetes.Interface
	namespaces corelisters.NamespaceLister
}

func newInputs(client kubernetes.Interface, shared informers.SharedInformerFactory) host.InputsFunc {
	return (&inputs{client: client, namespaces: shared.Core().V1().Namespaces().Lister()}).of
}

func (i *inputs) of(ctx context.Context, v runtime.Object) rewrite.Inputs {
	var in rewrite.Inputs
	m, ok := v.(metav1.Object)
	if !ok {
		return in
	}
	in.Namespaces = i.namespaceLabels(ctx, m.GetNamespace(), readsAll(v))
	in.NamespaceLabels = in.Namespaces[m.GetNamespace()]
	return in
}

// readsAll reports whether a translation may read the labels of every namespace
// (rewrite.Inputs). Listing hundreds of them costs more than translating a pod.
func readsAll(v runtime.Object) bool {
	pod, ok := v.(*corev1.Pod)
	return ok && pod.Spec.Affinity != nil && pod.Spec.Affinity.PodAffinity != nil
}

// namespaceLabels returns the labels of own, which may have been made a moment
// ago, and of all namespaces that the informer has, if all is set. Own is left out
// if it cannot be read: no labels would be wrong, and so would be a pod that a
// namespace selector misses. sync/nslabels gives the pod its labels as soon as
// the namespace is seen.
func (i *inputs) namespaceLabels(ctx context.Context, own string, all bool) map[string]map[string]string {
	// A lister over a cache cannot fail; the API is asked for an own that it lacks.
	var list []*corev1.Namespace
	if all {
		list, _ = i.namespaces.List(labels.Everything())
	} else if ns, err := i.namespaces.Get(own); err == nil {
		list = append(list, ns)
	}
	out := make(map[string]map[string]string, len(list)+1)
	add := func(ns *corev1.Namespace) {
		if out[ns.Name] = ns.Labels; ns.Labels == nil {
			out[ns.Name] = map[string]string{}
		}
	}
	for _, ns := range list {
		add(ns)
	}
	if _, ok := out[own]; !ok && own != "" {
		if ns, err := i.client.CoreV1().Namespaces().Get(ctx, own, metav1.GetOptions{}); err == nil {
			add(ns)
		}
	}
	return out
}
