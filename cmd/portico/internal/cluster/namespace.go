// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/cmd/portico/internal/output"
)

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// EnsureNamespace makes the namespace for a cluster if it is not there, and
// marks it as made for the cluster. It returns false while an old one of the
// name is still being deleted.
func EnsureNamespace(ctx context.Context, client kubernetes.Interface, namespace, name string) (bool, error) {
	ns, err := client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err):
		// A user who may work in a namespace only. If it is not there, the next
		// request says so.
		return true, nil
	case apierrors.IsNotFound(err):
		ns = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Annotations: map[string]string{AnnotationCreatedFor: name}}}
		if _, err = client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); apierrors.IsAlreadyExists(err) {
			return false, nil
		}
		if err != nil {
			return false, output.WithHint(fmt.Errorf("create the host namespace %s: %w", namespace, err),
				"-n names a namespace that is there")
		}
		return true, nil
	case err != nil:
		return false, fmt.Errorf("read the host namespace %s: %w", namespace, err)
	}
	return ns.DeletionTimestamp == nil, nil
}

// MadeFor reports whether a namespace was made for a cluster.
func MadeFor(ctx context.Context, client kubernetes.Interface, namespace, name string) (bool, error) {
	ns, err := client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the host namespace %s: %w", namespace, err)
	}
	return ns.Annotations[AnnotationCreatedFor] == name, nil
}

// Remains lists things in a namespace that somebody would miss, as "kind name".
func Remains(ctx context.Context, client kubernetes.Interface, namespace string) ([]string, error) {
	var remains []string
	add := func(kind, name string) { remains = append(remains, strings.ToLower(kind)+" "+name) }
	all := metav1.ListOptions{}
	sets, err := client.AppsV1().StatefulSets(namespace).List(ctx, all)
	if err != nil {
		return nil, err
	}
	for _, o := range sets.Items {
		add(StatefulSet, o.Name)
	}
	deployments, err := client.AppsV1().Deployments(namespace).List(ctx, all)
	if err != nil {
		return nil, err
	}
	for _, o := range deployments.Items {
		add(Deployment, o.Name)
	}
	claims, err := client.CoreV1().PersistentVolumeClaims(namespace).List(ctx, all)
	if err != nil {
		return nil, err
	}
	for _, o := range claims.Items {
		if o.DeletionTimestamp == nil {
			add("PersistentVolumeClaim", o.Name)
		}
	}
	pods, err := client.CoreV1().Pods(namespace).List(ctx, all)
	if err != nil {
		return nil, err
	}
	for _, o := range pods.Items {
		if metav1.GetControllerOf(&o) == nil && o.DeletionTimestamp == nil {
			add("Pod", o.Name)
		}
	}
	return remains, nil
}

// DeleteNamespace deletes a namespace and reports whether it is gone.
func DeleteNamespace(ctx context.Context, client kubernetes.Interface, namespace string) (gone bool, err error) {
	err = client.CoreV1().Namespaces().Delete(ctx, namespace, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if apierrors.IsConflict(err) { // It is being deleted.
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("delete the host namespace %s: %w", namespace, err)
	}
	return false, nil
}

// NamespaceReason says why a namespace is still there.
func NamespaceReason(ctx context.Context, client kubernetes.Interface, namespace string) string {
	ns, err := client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	if err != nil {
		return ""
	}
	for _, c := range ns.Status.Conditions {
		if c.Status == corev1.ConditionTrue && c.Type != corev1.NamespaceDeletionDiscoveryFailure {
			return c.Message
		}
	}
	return ""
}
