// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// view holds the objects that one side sees.
type view struct {
	namespaces  []corev1.Namespace
	deployments []appsv1.Deployment // in all namespaces
	pods        []corev1.Pod        // in the namespace that the demo is about
}

func observe(ctx context.Context, client kubernetes.Interface, namespace string) (view, error) {
	namespaces, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return view{}, fmt.Errorf("list namespaces: %w", err)
	}
	deployments, err := client.AppsV1().Deployments(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return view{}, fmt.Errorf("list deployments: %w", err)
	}
	pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return view{}, fmt.Errorf("list pods in %q: %w", namespace, err)
	}
	return view{namespaces.Items, deployments.Items, pods.Items}, nil
}

func (v view) hasNamespace(name string) bool {
	return slices.ContainsFunc(v.namespaces, func(n corev1.Namespace) bool { return n.Name == name })
}

// verify checks the demo's claims. It returns all violations.
func verify(tenant, host view, cluster, namespace string) error {
	var errs []error
	if !tenant.hasNamespace(walkNamespace) {
		errs = append(errs, fmt.Errorf("the tenant has no namespace %q", walkNamespace))
	}
	if tenant.hasNamespace(namespace) {
		errs = append(errs, fmt.Errorf("the tenant sees the host's namespace %q", namespace))
	}
	if host.hasNamespace(walkNamespace) {
		errs = append(errs, fmt.Errorf("the host has the tenant's namespace %q", walkNamespace))
	}
	if len(tenant.deployments) != 1 {
		errs = append(errs, fmt.Errorf("the tenant has %d Deployments, not 1", len(tenant.deployments)))
	}
	for _, d := range host.deployments {
		errs = append(errs, fmt.Errorf("the host has Deployment %s/%s", d.Namespace, d.Name))
	}
	if len(tenant.pods) != walkReplicas || len(host.pods) != walkReplicas {
		errs = append(errs, fmt.Errorf("the tenant has %d pods and the host %d, not %d each", len(tenant.pods), len(host.pods), walkReplicas))
	}
	for _, v := range tenant.pods {
		errs = append(errs, verifyPod(v, host, cluster))
	}
	return errors.Join(errs...)
}

// verifyPod checks that a pod of the tenant is a pod of the host: one object,
// so one uid, under the name that the naming rule gives it.
func verifyPod(v corev1.Pod, host view, cluster string) error {
	want := strings.Join([]string{v.Name, v.Namespace, cluster}, "-x-")
	for _, h := range host.pods {
		switch {
		case h.Name != want:
		case h.UID != v.UID:
			return fmt.Errorf("pod %s has uid %s, its host pod %s", v.Name, v.UID, h.UID)
		case v.Status.Phase != corev1.PodRunning || h.Status.Phase != corev1.PodRunning:
			return fmt.Errorf("pod %s is %s, on the host %s", v.Name, v.Status.Phase, h.Status.Phase)
		default:
			return nil
		}
	}
	return fmt.Errorf("the host has no pod %s", want)
}

// writeViews prints both views, kind by kind.
func writeViews(out io.Writer, tenant, host view, namespace string) error {
	return writeSideBySide(out,
		"THE TENANT SEES", "THE HOST HAS",
		[]pair{
			{namespaceTable(tenant), namespaceTable(host)},
			{deploymentTable(tenant), deploymentTable(host)},
			{podTable(tenant, walkNamespace), podTable(host, namespace)},
		})
}

func namespaceTable(v view) table {
	t := table{title: "namespaces", header: []string{"NAME", "STATUS"}}
	for _, n := range v.namespaces {
		t.rows = append(t.rows, []string{n.Name, string(n.Status.Phase)})
	}
	return t
}

func deploymentTable(v view) table {
	t := table{title: "deployments in all namespaces", header: []string{"NAMESPACE", "NAME", "READY"}}
	for _, d := range v.deployments {
		t.rows = append(t.rows, []string{d.Namespace, d.Name, fmt.Sprintf("%d/%d", d.Status.ReadyReplicas, d.Status.Replicas)})
	}
	return t
}

func podTable(v view, namespace string) table {
	t := table{title: "pods in " + namespace, header: []string{"NAME", "READY", "STATUS"}}
	for _, p := range v.pods {
		ready := 0
		for _, c := range p.Status.ContainerStatuses {
			if c.Ready {
				ready++
			}
		}
		t.rows = append(t.rows, []string{p.Name, fmt.Sprintf("%d/%d", ready, len(p.Spec.Containers)), string(p.Status.Phase)})
	}
	return t
}
