// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package resourcemetrics

import (
	"cmp"
	"context"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/metrics/pkg/apis/metrics"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"portico.dev/portico/rewrite"
)

// podMetrics serves pods.metrics.k8s.io.
type podMetrics struct {
	table[*metrics.PodMetrics]
	config Config
}

var (
	_ rest.Getter               = &podMetrics{}
	_ rest.Lister               = &podMetrics{}
	_ rest.Scoper               = &podMetrics{}
	_ rest.KindProvider         = &podMetrics{}
	_ rest.SingularNameProvider = &podMetrics{}
)

// New implements rest.Storage.
func (*podMetrics) New() runtime.Object { return &metrics.PodMetrics{} }

// Destroy implements rest.Storage.
func (*podMetrics) Destroy() {}

// NewList implements rest.Lister.
func (*podMetrics) NewList() runtime.Object { return &metrics.PodMetricsList{} }

// Kind implements rest.KindProvider.
func (*podMetrics) Kind() string { return "PodMetrics" }

// NamespaceScoped implements rest.Scoper.
func (*podMetrics) NamespaceScoped() bool { return true }

// GetSingularName implements rest.SingularNameProvider. It is empty, as
// metrics-server's: "pod" is the core group's.
func (*podMetrics) GetSingularName() string { return "" }

// List implements rest.Lister.
func (r *podMetrics) List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error) {
	namespace := request.NamespaceValue(ctx)
	byLabel, byField := selectors(options)
	pods, err := r.config.Pods.Pods(namespace).List(byLabel)
	if err != nil {
		return nil, err
	}
	list := &metrics.PodMetricsList{Items: []metrics.PodMetrics{}}
	if len(pods) == 0 {
		return list, nil // nothing to ask the host about
	}
	t := r.config.Translator
	scope := t.ScopeSelector()
	if namespace != "" {
		scope = labels.SelectorFromSet(t.NamespaceSelector(namespace))
	}
	onHost, err := r.config.Host.PodMetricses(t.Cluster().HostNamespace).List(ctx, metav1.ListOptions{LabelSelector: scope.String()})
	if err != nil {
		return nil, interpret(ctx, err)
	}
	measured := make(map[string]*v1beta1.PodMetrics, len(onHost.Items))
	for i := range onHost.Items {
		measured[onHost.Items[i].Name] = &onHost.Items[i]
	}
	for _, pod := range pods {
		if !byField.Matches(fields.Set{"metadata.name": pod.Name, "metadata.namespace": pod.Namespace}) {
			continue
		}
		for _, hostName := range t.HostNames("Pod", pod.Namespace, pod.Name) {
			if m := measured[hostName]; m != nil {
				list.Items = append(list.Items, *virtualPodMetrics(pod, m))
				break
			}
		}
	}
	slices.SortFunc(list.Items, func(a, b metrics.PodMetrics) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return list, nil
}

// Get implements rest.Getter.
func (r *podMetrics) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	namespace := request.NamespaceValue(ctx)
	notFound := apierrors.NewNotFound(metrics.Resource("podmetrics"), namespace+"/"+name)
	pod, err := r.config.Pods.Pods(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil, notFound
	}
	if err != nil {
		return nil, err
	}
	t := r.config.Translator
	for _, hostName := range t.HostNames("Pod", namespace, name) {
		m, err := r.config.Host.PodMetricses(t.Cluster().HostNamespace).Get(ctx, hostName, metav1.GetOptions{})
		switch {
		case err == nil:
			return virtualPodMetrics(pod, m), nil
		case !apierrors.IsNotFound(err):
			return nil, interpret(ctx, err)
		}
	}
	return nil, notFound
}

// virtualPodMetrics shows the host's measurements of a pod. Nothing but numbers
// and container names is taken from there.
func virtualPodMetrics(pod *corev1.Pod, m *v1beta1.PodMetrics) *metrics.PodMetrics {
	out := &metrics.PodMetrics{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: pod.Name, Labels: maps.Clone(pod.Labels), CreationTimestamp: m.CreationTimestamp,
		},
		Timestamp: m.Timestamp, Window: m.Window,
		Containers: make([]metrics.ContainerMetrics, 0, len(m.Containers)),
	}
	for _, c := range m.Containers {
		if c.Name == rewrite.EtcHostsName {
			continue // the tenant does not see it
		}
		out.Containers = append(out.Containers, metrics.ContainerMetrics{Name: c.Name, Usage: c.Usage.DeepCopy()})
	}
	return out
}
