// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Pod returns a pod with one container.
func Pod(name string, labels map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "nginx"}}},
	}
}

// CreateNamespace creates a virtual namespace and waits for its default
// ServiceAccount, which a pod needs as on any cluster.
func (c *Cluster) CreateNamespace(name string) {
	c.T.Helper()
	_, err := c.Virtual.CoreV1().Namespaces().Create(c.T.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		c.T.Fatalf("create namespace %s: %v", name, err)
	}
	Eventually(c.T, "default ServiceAccount of "+name, func(ctx context.Context) (bool, string) {
		_, err := c.Virtual.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, fmt.Sprint(err)
	})
}

// CreatePod creates a virtual pod.
func (c *Cluster) CreatePod(namespace string, p *corev1.Pod) *corev1.Pod {
	c.T.Helper()
	created, err := c.Virtual.CoreV1().Pods(namespace).Create(c.T.Context(), p, metav1.CreateOptions{})
	if err != nil {
		c.T.Fatalf("create pod %s/%s: %v", namespace, p.Name, err)
	}
	return created
}

// CreateService creates a virtual Service.
func (c *Cluster) CreateService(namespace, name string, spec corev1.ServiceSpec) *corev1.Service {
	c.T.Helper()
	svc, err := c.Virtual.CoreV1().Services(namespace).Create(c.T.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		c.T.Fatalf("create service %s/%s: %v", namespace, name, err)
	}
	return svc
}

// HostPod returns the host pod of a virtual pod with a short name.
func (c *Cluster) HostPod(namespace, name string) *corev1.Pod {
	c.T.Helper()
	h, err := c.Host.CoreV1().Pods(c.Namespace).Get(c.T.Context(), c.HostName(namespace, name), metav1.GetOptions{})
	if err != nil {
		c.T.Fatalf("host pod of %s/%s: %v", namespace, name, err)
	}
	return h
}

// Settled waits until a simulated pod is ready: the host has nothing more to
// write to it.
func (c *Cluster) Settled(namespace, name string) {
	c.T.Helper()
	Eventually(c.T, "pod ready", func(ctx context.Context) (bool, string) {
		p, err := c.Virtual.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		for _, cond := range p.Status.Conditions {
			if cond.Type == corev1.PodReady && cond.Status == corev1.ConditionTrue {
				return true, ""
			}
		}
		return false, fmt.Sprintf("%+v", p.Status)
	})
}
