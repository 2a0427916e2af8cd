// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	apiregistration "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/typed/apiregistration/v1"

	"portico.dev/portico/test/embedded"
)

// TestMetricsServerInside: the APIService of a metrics server that a tenant
// installs does not replace what porticod serves from the host. One from the time
// when the host had no metrics is put back, and namespaces end as ever.
func TestMetricsServerInside(t *testing.T) {
	h, ctx := embedded.PrivateHost(t), t.Context()
	c := newClusterOn(t, h)
	services := func() apiregistration.APIServiceInterface {
		return apiregistration.NewForConfigOrDie(c.Config).APIServices()
	}
	const name = "v1beta1.metrics.k8s.io"
	installed := &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"k8s-app": "metrics-server"}},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: "metrics.k8s.io", Version: "v1beta1", GroupPriorityMinimum: 100, VersionPriority: 100, InsecureSkipTLSVerify: true,
			Service: &apiregistrationv1.ServiceReference{Namespace: "kube-system", Name: "metrics-server"},
		},
	}
	if _, err := services().Create(ctx, installed, metav1.CreateOptions{}); err != nil {
		t.Fatalf("on a host without metrics: %v", err)
	}

	serveMetrics(t, h)
	c.Kill()
	c.Start()
	embedded.Eventually(t, "APIService put back", func(ctx context.Context) (bool, string) {
		s, err := services().Get(ctx, name, metav1.GetOptions{})
		return err == nil && s.Spec.Service == nil, fmt.Sprint(s, err)
	})
	embedded.Eventually(t, "Event", func(ctx context.Context) (bool, string) {
		events, err := c.Virtual.CoreV1().Events("default").List(ctx, metav1.ListOptions{FieldSelector: "reason=APIServicePutBack"})
		return err == nil && len(events.Items) == 1 && events.Items[0].InvolvedObject.Name == name, fmt.Sprint(events, err)
	})
	now, err := services().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	now.Spec = installed.Spec
	if _, err := services().Update(ctx, now, metav1.UpdateOptions{}); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "integrations.metricsServer.enabled") {
		t.Errorf("update: %v, want Forbidden with the setting", err)
	}
	apps, err := services().Get(ctx, "v1.apps", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	apps.Spec.Service, apps.Spec.InsecureSkipTLSVerify = installed.Spec.Service, true
	if _, err := services().Update(ctx, apps, metav1.UpdateOptions{}); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "apps/v1 is served by") {
		t.Errorf("update of v1.apps: %v, want Forbidden", err)
	}

	// kubectl top, and the end of a namespace.
	embedded.Eventually(t, "metrics of the host", func(ctx context.Context) (bool, string) {
		raw, err := c.Virtual.CoreV1().RESTClient().Get().AbsPath("/apis/metrics.k8s.io/v1beta1/pods").DoRaw(ctx)
		return err == nil && strings.Contains(string(raw), `"PodMetricsList"`), fmt.Sprint(string(raw), err)
	})
	c.CreateNamespace("passing")
	if err := c.Virtual.CoreV1().Namespaces().Delete(ctx, "passing", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	var last []corev1.NamespaceCondition
	embedded.Eventually(t, "end of a namespace", func(ctx context.Context) (bool, string) {
		ns, err := c.Virtual.CoreV1().Namespaces().Get(ctx, "passing", metav1.GetOptions{})
		if err == nil {
			last = ns.Status.Conditions
		}
		return apierrors.IsNotFound(err), fmt.Sprint(last, err)
	})
}

// serveMetrics makes a host answer requests for pods of metrics.k8s.io, with
// none: as custom resources.
func serveMetrics(t *testing.T, h *embedded.Host) {
	t.Helper()
	client, err := dynamic.NewForConfig(h.Config)
	if err != nil {
		t.Fatal(err)
	}
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{
			"name":        "pods.metrics.k8s.io",
			"annotations": map[string]any{"api-approved.kubernetes.io": "unapproved, for a test"},
		},
		"spec": map[string]any{
			"group": "metrics.k8s.io", "scope": "Namespaced",
			"names": map[string]any{"plural": "pods", "singular": "pod", "kind": "PodMetrics", "listKind": "PodMetricsList"},
			"versions": []any{map[string]any{
				"name": "v1beta1", "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
			}},
		},
	}}
	crds := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	if _, err := client.Resource(crds).Create(t.Context(), crd, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "metrics on the host", func(ctx context.Context) (bool, string) {
		raw, err := h.Client.CoreV1().RESTClient().Get().AbsPath("/apis/metrics.k8s.io/v1beta1/pods").DoRaw(ctx)
		return err == nil, fmt.Sprint(string(raw), err)
	})
}
