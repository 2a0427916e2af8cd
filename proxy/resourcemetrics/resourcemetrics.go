// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package resourcemetrics

import (
	"context"
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/klog/v2"
	"k8s.io/metrics/pkg/apis/metrics"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"

	"portico.dev/portico/rewrite"
)

// GroupVersion is the served version.
var GroupVersion = v1beta1.SchemeGroupVersion

// Config holds the sources of the group.
type Config struct {
	// Host may get and list pods.metrics.k8s.io in the cluster's host
	// namespace, and nodes.metrics.k8s.io if Shown is set.
	Host       metricsclient.MetricsV1beta1Interface
	Translator *rewrite.Translator

	// Pods and Nodes are the virtual cluster's.
	Pods  corelisters.PodLister
	Nodes corelisters.NodeLister

	// Shown says whether a virtual Node is the host node of the same name. A
	// Node can be the tenant's own invention, so this must not be answered from
	// the virtual cluster. Nil: none is.
	Shown func(node string) bool
}

// Probe asks the host as List does, for nothing, and returns its refusal:
// NotFound when the host has no such API, Forbidden when the door has no right
// to it.
func (c Config) Probe(ctx context.Context) error {
	_, err := c.Host.PodMetricses(c.Translator.Cluster().HostNamespace).List(ctx, metav1.ListOptions{
		Limit: 1, LabelSelector: c.Translator.ScopeSelector().String(),
	})
	return err
}

// APIGroup is the group for an API server to install.
func APIGroup(c Config) (*genericapiserver.APIGroupInfo, error) {
	// A scheme of its own: in the server's, the group's types would collide
	// with others.
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{metrics.AddToScheme, v1beta1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	if err := scheme.SetVersionPriority(GroupVersion); err != nil {
		return nil, err
	}
	info := genericapiserver.NewDefaultAPIGroupInfo(metrics.GroupName, scheme, runtime.NewParameterCodec(scheme), serializer.NewCodecFactory(scheme))
	info.VersionedResourcesStorageMap[GroupVersion.Version] = map[string]rest.Storage{
		"pods":  &podMetrics{config: c},
		"nodes": &nodeMetrics{config: c},
	}
	return &info, nil
}

// selectors of a list, which match the virtual object.
func selectors(o *metainternalversion.ListOptions) (labels.Selector, fields.Selector) {
	l, f := labels.Everything(), fields.Everything()
	if o != nil && o.LabelSelector != nil {
		l = o.LabelSelector
	}
	if o != nil && o.FieldSelector != nil {
		f = o.FieldSelector
	}
	return l, f
}

// interpret turns a host's error into one that the tenant may see.
func interpret(ctx context.Context, err error) error {
	if gone := ctx.Err(); gone != nil {
		return apierrors.NewTimeoutError("the request was cancelled, or took too long", 0)
	}
	klog.FromContext(ctx).Info("Host metrics not read", "err", err)
	message := "the host of this cluster does not serve metrics now"
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		message = "the host of this cluster cannot be reached for metrics"
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusServiceUnavailable, Reason: metav1.StatusReasonServiceUnavailable, Message: message,
	}}
}
