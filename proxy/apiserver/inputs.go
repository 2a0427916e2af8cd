// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
// its pods when they change, and the kubelet of an ordinary cluster also gives
// a new container the Services it happened to know of. If an informer lacks an
// object that the translation names, the API is asked.
type inputs struct {
	client     kubernetes.Interface
	namespaces corelisters.NamespaceLister
	services   corelisters.ServiceLister
	configMaps corelisters.ConfigMapLister
	secrets    corelisters.SecretLister
}

func newInputs(client kubernetes.Interface, shared informers.SharedInformerFactory) host.InputsFunc {
	core := shared.Core().V1()
	return (&inputs{
		client: client, namespaces: core.Namespaces().Lister(), services: core.Services().Lister(),
		configMaps: core.ConfigMaps().Lister(), secrets: core.Secrets().Lister(),
	}).of
}

func (i *inputs) of(ctx context.Context, v runtime.Object) rewrite.Inputs {
	var in rewrite.Inputs
	m, ok := v.(metav1.Object)
	if !ok {
		return in
	}
	in.Namespaces = i.namespaceLabels(ctx, m.GetNamespace())
	in.NamespaceLabels = in.Namespaces[m.GetNamespace()]
	pod, ok := v.(*corev1.Pod)
	if !ok {
		return in
	}
	if list, err := i.services.Services(pod.Namespace).List(labels.Everything()); err == nil {
		in.Services = list
	}
	in.EnvKeys = i.envKeys(ctx, pod)
	return in
}

// namespaceLabels returns the labels of all namespaces that the informer has,
// and of own, which may have been made a moment ago. Own is left out if it
// cannot be read: no labels would be wrong, and so would be a pod that a
// namespace selector misses. sync/nslabels gives the pod its labels as soon as
// the namespace is seen.
func (i *inputs) namespaceLabels(ctx context.Context, own string) map[string]map[string]string {
	list, err := i.namespaces.List(labels.Everything())
	if err != nil {
		list = nil // a lister over a cache cannot fail; the API is asked for own
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

// envKeys reads the keys of the Secrets and ConfigMaps from which a pod's
// containers take their environment. An object that cannot be read has no keys:
// the kubelet will report it.
func (i *inputs) envKeys(ctx context.Context, pod *corev1.Pod) map[rewrite.EnvSource][]string {
	var out map[rewrite.EnvSource][]string
	add := func(from []corev1.EnvFromSource) {
		for j := range from {
			source, keys := i.keysOf(ctx, pod.Namespace, &from[j])
			if len(keys) == 0 {
				continue
			}
			if out == nil {
				out = map[rewrite.EnvSource][]string{}
			}
			out[source] = keys
		}
	}
	for j := range pod.Spec.InitContainers {
		add(pod.Spec.InitContainers[j].EnvFrom)
	}
	for j := range pod.Spec.Containers {
		add(pod.Spec.Containers[j].EnvFrom)
	}
	for j := range pod.Spec.EphemeralContainers {
		add(pod.Spec.EphemeralContainers[j].EnvFrom)
	}
	return out
}

// keysOf asks the API for an object that the informers do not have: the pod's
// own manifest may have made it a moment ago.
func (i *inputs) keysOf(ctx context.Context, namespace string, from *corev1.EnvFromSource) (rewrite.EnvSource, []string) {
	switch {
	case from.ConfigMapRef != nil:
		c, err := i.configMaps.ConfigMaps(namespace).Get(from.ConfigMapRef.Name)
		if apierrors.IsNotFound(err) {
			c, err = i.client.CoreV1().ConfigMaps(namespace).Get(ctx, from.ConfigMapRef.Name, metav1.GetOptions{})
		}
		if err == nil {
			return rewrite.EnvSource{Kind: "ConfigMap", Name: c.Name}, keys(c.Data)
		}
	case from.SecretRef != nil:
		s, err := i.secrets.Secrets(namespace).Get(from.SecretRef.Name)
		if apierrors.IsNotFound(err) {
			s, err = i.client.CoreV1().Secrets(namespace).Get(ctx, from.SecretRef.Name, metav1.GetOptions{})
		}
		if err == nil {
			return rewrite.EnvSource{Kind: "Secret", Name: s.Name}, keys(s.Data)
		}
	}
	return rewrite.EnvSource{}, nil
}

func keys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
}
