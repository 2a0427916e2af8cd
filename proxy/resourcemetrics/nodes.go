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
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/metrics/pkg/apis/metrics"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// nodeMetrics serves nodes.metrics.k8s.io: of the host nodes that are shown,
// and of no others.
type nodeMetrics struct {
	table[*metrics.NodeMetrics]
	config Config
}

var (
	_ rest.Getter               = &nodeMetrics{}
	_ rest.Lister               = &nodeMetrics{}
	_ rest.Scoper               = &nodeMetrics{}
	_ rest.KindProvider         = &nodeMetrics{}
	_ rest.SingularNameProvider = &nodeMetrics{}
)

// New implements rest.Storage.
func (*nodeMetrics) New() runtime.Object { return &metrics.NodeMetrics{} }

// Destroy implements rest.Storage.
func (*nodeMetrics) Destroy() {}

// NewList implements rest.Lister.
func (*nodeMetrics) NewList() runtime.Object { return &metrics.NodeMetricsList{} }

// Kind implements rest.KindProvider.
func (*nodeMetrics) Kind() string { return "NodeMetrics" }

// NamespaceScoped implements rest.Scoper.
func (*nodeMetrics) NamespaceScoped() bool { return false }

// GetSingularName implements rest.SingularNameProvider.
func (*nodeMetrics) GetSingularName() string { return "" }

// List implements rest.Lister.
func (r *nodeMetrics) List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error) {
	byLabel, byField := selectors(options)
	nodes, err := r.config.Nodes.List(byLabel)
	if err != nil {
		return nil, err
	}
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n *corev1.Node) bool {
		return !r.shown(n.Name) || !byField.Matches(fields.Set{"metadata.name": n.Name})
	})
	list := &metrics.NodeMetricsList{Items: []metrics.NodeMetrics{}}
	if len(nodes) == 0 {
		return list, nil
	}
	onHost, err := r.config.Host.NodeMetricses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, interpret(ctx, err)
	}
	measured := make(map[string]*v1beta1.NodeMetrics, len(onHost.Items))
	for i := range onHost.Items {
		measured[onHost.Items[i].Name] = &onHost.Items[i]
	}
	for _, node := range nodes {
		if m := measured[node.Name]; m != nil {
			list.Items = append(list.Items, *virtualNodeMetrics(node, m))
		}
	}
	slices.SortFunc(list.Items, func(a, b metrics.NodeMetrics) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// Get implements rest.Getter.
func (r *nodeMetrics) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	notFound := apierrors.NewNotFound(metrics.Resource("nodemetrics"), name)
	node, err := r.config.Nodes.Get(name)
	if apierrors.IsNotFound(err) || (err == nil && !r.shown(name)) {
		return nil, notFound
	}
	if err != nil {
		return nil, err
	}
	m, err := r.config.Host.NodeMetricses().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, notFound
	}
	if err != nil {
		return nil, interpret(ctx, err)
	}
	return virtualNodeMetrics(node, m), nil
}

func (r *nodeMetrics) shown(node string) bool { return r.config.Shown != nil && r.config.Shown(node) }

func virtualNodeMetrics(node *corev1.Node, m *v1beta1.NodeMetrics) *metrics.NodeMetrics {
	return &metrics.NodeMetrics{
		ObjectMeta: metav1.ObjectMeta{Name: node.Name, Labels: maps.Clone(node.Labels), CreationTimestamp: m.CreationTimestamp},
		Timestamp:  m.Timestamp, Window: m.Window,
		Usage: m.Usage.DeepCopy(),
	}
}
