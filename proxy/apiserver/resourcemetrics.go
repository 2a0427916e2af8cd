// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"fmt"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	restclient "k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	apiregistration "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/typed/apiregistration/v1"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"

	"portico.dev/portico/proxy/resourcemetrics"
)

const (
	// metricsProbeInterval is how often a host that offers no metrics is asked
	// again.
	metricsProbeInterval = time.Minute
	// metricsLabel marks the APIService that is ours.
	metricsLabel = "portico.dev/serves"
	// metricsLabelValue stands for the metrics of the host.
	metricsLabelValue = "host-metrics"
	// metricsReader lets those who may view a namespace see its pods' metrics,
	// as metrics-server's own role does under another name, which the chart of
	// a metrics server inside must be able to take.
	metricsReader = "portico:aggregated-metrics-reader"
)

// resourceMetrics serves metrics.k8s.io of a virtual cluster. The group is
// installed like a native one. An APIService makes it a part of the API. It is
// created once the host is seen to serve metrics; from then on the group is the
// cluster's own, and one that leads to a server of the tenant's is put back.
type resourceMetrics struct {
	config resourcemetrics.Config
	own    *ownAPIs
}

func newResourceMetrics(h *Host, shared informers.SharedInformerFactory, own *ownAPIs) (*resourceMetrics, error) {
	client, err := metricsclient.NewForConfig(h.REST)
	if err != nil {
		return nil, fmt.Errorf("client for the host's metrics: %w", err)
	}
	core := shared.Core().V1()
	// Asking for them makes the factory start them.
	core.Pods().Informer()
	core.Nodes().Informer()
	return &resourceMetrics{own: own, config: resourcemetrics.Config{
		Host: client, Translator: h.Translator, Pods: core.Pods().Lister(), Nodes: core.Nodes().Lister(), Shown: h.NodeShown,
	}}, nil
}

// install adds the group to the server of the native resources.
func (m *resourceMetrics) install(server *genericapiserver.GenericAPIServer) error {
	group, err := resourcemetrics.APIGroup(m.config)
	if err != nil {
		return fmt.Errorf("compose metrics.k8s.io: %w", err)
	}
	if err := server.InstallAPIGroup(group); err != nil {
		return fmt.Errorf("install metrics.k8s.io: %w", err)
	}
	return nil
}

// addMetricsHook keeps the APIService of metrics.k8s.io: m is nil when the
// host's metrics are not to be served, and then one of ours goes.
func addMetricsHook(server *genericapiserver.GenericAPIServer, m *resourceMetrics) error {
	return server.AddPostStartHook("portico-resource-metrics", func(hook genericapiserver.PostStartHookContext) error {
		services, err := apiregistration.NewForConfig(hook.LoopbackClientConfig)
		if err != nil {
			return err
		}
		if m == nil {
			go retry(hook, "metrics.k8s.io of before is not withdrawn", func(ctx context.Context) error { return withdrawMetrics(ctx, services) })
			return nil
		}
		go retry(hook, "metrics.k8s.io is not served from the host", func(ctx context.Context) error { return m.publish(ctx, hook.LoopbackClientConfig, services) })
		return nil
	})
}

// retry does something once. Each failure is logged with that text.
func retry(ctx context.Context, failure string, do func(context.Context) error) {
	// The context's end is the only error, and no news.
	_ = wait.PollUntilContextCancel(ctx, metricsProbeInterval, true, func(ctx context.Context) (bool, error) {
		err := do(ctx)
		if err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).V(1).Info(failure, "err", err)
		}
		return err == nil, nil
	})
}

// publish makes the group discoverable if the host has it.
func (m *resourceMetrics) publish(ctx context.Context, loopback *restclient.Config, services *apiregistration.ApiregistrationV1Client) error {
	if err := m.config.Probe(ctx); apierrors.IsNotFound(err) || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		return fmt.Errorf("ask the host for metrics: %w", err)
	}
	// Any other error is a metrics server that has trouble, which clients may
	// see for themselves.
	client, err := kubernetes.NewForConfig(loopback)
	if err != nil {
		return err
	}
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: metricsReader, Labels: map[string]string{
			metricsLabel: metricsLabelValue,
			"rbac.authorization.k8s.io/aggregate-to-admin": "true",
			"rbac.authorization.k8s.io/aggregate-to-edit":  "true",
			"rbac.authorization.k8s.io/aggregate-to-view":  "true",
		}},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{resourcemetrics.GroupVersion.Group}, Resources: []string{"pods", "nodes"}, Verbs: []string{"get", "list"},
		}},
	}
	if _, err := client.RbacV1().ClusterRoles().Create(ctx, role, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create ClusterRole %s: %w", metricsReader, err)
	}
	m.own.metrics.Store(true) // from here on no other comes
	service := newMetricsService()
	_, err = services.APIServices().Create(ctx, service, metav1.CreateOptions{})
	switch {
	case apierrors.IsAlreadyExists(err):
		return m.own.putBack(ctx, client, services.APIServices(), service.Name)
	case err != nil:
		return fmt.Errorf("create APIService %s: %w", service.Name, err)
	}
	klog.FromContext(ctx).Info("Serving metrics.k8s.io from the host")
	return nil
}

// withdrawMetrics removes the APIService that publish made, and no other.
func withdrawMetrics(ctx context.Context, services *apiregistration.ApiregistrationV1Client) error {
	service, err := services.APIServices().Get(ctx, metricsService(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("get APIService %s: %w", metricsService(), err)
	}
	if service.Spec.Service != nil || service.Labels[metricsLabel] != metricsLabelValue {
		return nil // the tenant's
	}
	err = services.APIServices().Delete(ctx, service.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(service.UID))})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete APIService %s: %w", service.Name, err)
	}
	return nil
}

func metricsService() string { return apiServiceName(resourcemetrics.GroupVersion) }

// newMetricsService names no service: the aggregator hands requests to the next
// server, where the group is installed.
func newMetricsService() *apiregistrationv1.APIService {
	return &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: metricsService(), Labels: map[string]string{metricsLabel: metricsLabelValue}},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: resourcemetrics.GroupVersion.Group, Version: resourcemetrics.GroupVersion.Version,
			GroupPriorityMinimum: 100, VersionPriority: 100, // metrics-server's own
		},
	}
}
