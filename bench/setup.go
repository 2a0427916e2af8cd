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
	"k8s.io/client-go/rest"
)

// makers is how many clients make the objects that are not measured.
const makers = 8

// side is one of the two that a comparison is about: an API server and a
// namespace in it that is the benchmark's own. Pods of the host side are made
// on the host directly, so they carry nothing of Portico's.
type side struct {
	name      string
	client    kubernetes.Interface
	namespace string
}

// few and many are the namespaces next to a side's own in which lists are read:
// nothing in them changes.
func (s side) few() side  { return side{s.name, s.client, s.namespace + "-few"} }
func (s side) many() side { return side{s.name, s.client, s.namespace + "-many"} }

// standing is the name of the i-th object that is there all the time.
func standing(i int) string { return fmt.Sprintf("standing-%d", i) }

// setUp makes the namespace, and waits until pods may be made in it.
func (s side) setUp(ctx context.Context) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}}
	if _, err := s.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create namespace %q: %w", s.namespace, err)
	}
	return await(ctx, "its default ServiceAccount", func(ctx context.Context) (bool, error) {
		_, err := s.client.CoreV1().ServiceAccounts(s.namespace).Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
}

// fill makes n standing objects of a kind.
func (s side) fill(ctx context.Context, k kind, n int) error {
	return parallel(makers, n, func(_, i int) error { return s.post(ctx, k, standing(i), "") })
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

func await(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 5*time.Minute, true, done)
	if err != nil {
		return fmt.Errorf("wait for %s: %w", what, err)
	}
	return nil
}

// on addresses a request at an object of a kind, or at all with no name.
func (s side) on(r *rest.Request, k kind, name string) *rest.Request {
	r = r.Namespace(s.namespace).Resource(k.resource)
	if name != "" {
		r = r.Name(name)
	}
	return r
}

// api sends the requests. Answers are read and not decoded: the time of a decoder
// in this process would hide that of the servers.
func (s side) api() rest.Interface { return s.client.CoreV1().RESTClient() }

// post makes an object with a label that says what it is for; none if batch is
// empty.
func (s side) post(ctx context.Context, k kind, name, batch string) error {
	return s.on(s.api().Post(), k, "").SetHeader("Content-Type", "application/json").Body(k.object(name, batch)).Do(ctx).Error()
}

// clear removes the objects of a batch.
func (s side) clear(ctx context.Context, k kind, batch string) error {
	return s.on(s.api().Delete(), k, "").Param("labelSelector", batchLabel+"="+batch).
		Param("gracePeriodSeconds", "0").Timeout(5 * time.Minute).Do(ctx).Error()
}
