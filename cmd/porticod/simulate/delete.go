// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// carefulClient deletes only pods that are being deleted.
//
// kwok deletes, by name, pods that it has seen being deleted. When a client
// forces the deletion and makes a pod of the same name, that would hit the new
// one; a kubelet names the uid (pkg/kubelet/status/status_manager.go).
type carefulClient struct{ kubernetes.Interface }

// CoreV1 implements kubernetes.Interface.
func (c carefulClient) CoreV1() corev1client.CoreV1Interface {
	return carefulCore{c.Interface.CoreV1()}
}

type carefulCore struct{ corev1client.CoreV1Interface }

// Pods implements corev1client.PodsGetter.
func (c carefulCore) Pods(namespace string) corev1client.PodInterface {
	return carefulPods{c.CoreV1Interface.Pods(namespace)}
}

type carefulPods struct{ corev1client.PodInterface }

// Delete deletes the pod of a name if it is being deleted.
func (p carefulPods) Delete(ctx context.Context, name string, o metav1.DeleteOptions) error {
	pod, err := p.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if pod.DeletionTimestamp == nil {
		return nil // another pod
	}
	o.Preconditions = metav1.NewUIDPreconditions(string(pod.UID))
	err = p.PodInterface.Delete(ctx, name, o)
	if apierrors.IsConflict(err) {
		return nil // it has gone meanwhile
	}
	return err
}
