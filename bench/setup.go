// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

// side is one of the two that a comparison is about: an API server and a
// namespace in it that is the benchmark's own. Pods of the host side are made
// on the host directly, so they carry nothing of Portico's.
type side struct {
	name      string
	client    kubernetes.Interface
	namespace string
}

// standingPod is the name of the i-th pod that is there all the time.
func standingPod(i int) string { return fmt.Sprintf("standing-%d", i) }

// setUp makes the namespace and the standing pods, and waits until all run, so
// that nothing changes them while they are read.
func (s side) setUp(ctx context.Context, pods int) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}}
	if _, err := s.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create namespace %q: %w", s.namespace, err)
	}
	// Pods are refused until their namespace has a ServiceAccount.
	if err := s.await(ctx, "its default ServiceAccount", func(ctx context.Context) (bool, error) {
		_, err := s.client.CoreV1().ServiceAccounts(s.namespace).Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	}); err != nil {
		return err
	}
	for i := range pods {
		if _, err := s.client.CoreV1().Pods(s.namespace).Create(ctx, pod(standingPod(i)), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create pod %d: %w", i, err)
		}
	}
	return s.await(ctx, "its pods to run", func(ctx context.Context) (bool, error) {
		list, err := s.client.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{FieldSelector: "status.phase=Running"})
		return err == nil && len(list.Items) == pods, err
	})
}

// tearDown removes the namespace. It is called when ctx may have ended.
func (s side) tearDown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err := s.client.CoreV1().Namespaces().Delete(ctx, s.namespace, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove namespace %q on the %s side: %w", s.namespace, s.name, err)
	}
	return nil
}

func (s side) await(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 5*time.Minute, true, done)
	if err != nil {
		return fmt.Errorf("wait for %s: %w", what, err)
	}
	return nil
}

// pod returns the pod that all scenarios create: about the size of a
// Deployment's pod.
func pod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:   name,
			Labels: map[string]string{"app": "bench", "pod-template-hash": "5fbdf85c67"},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name:  "main",
			Image: "nginx",
			Ports: []corev1.ContainerPort{{ContainerPort: 80}},
			Env:   []corev1.EnvVar{{Name: "MODE", Value: "bench"}},
		}}},
	}
}
