// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package pause

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"

	"portico.dev/portico/rewrite"
)

// remakers are the controllers that make a pod again under a random name, or
// under the same one. All other controllers may take a pod that is missing for
// one that failed, as controllers of pipelines do.
var remakers = []schema.GroupKind{
	{Group: "", Kind: "ReplicationController"},
	{Group: "apps", Kind: "DaemonSet"},
	{Group: "apps", Kind: "ReplicaSet"},
	{Group: "apps", Kind: "StatefulSet"},
	{Group: "batch", Kind: "Job"},
}

// remade reports whether a controller inside will make the pod again. A pod
// whose overlay cannot be read has no controller that is known.
func remade(host *corev1.Pod) bool {
	owners, err := rewrite.VirtualOwners(host)
	if err != nil {
		return false
	}
	i := slices.IndexFunc(owners, func(o metav1.OwnerReference) bool { return o.Controller != nil && *o.Controller })
	return i >= 0 && slices.Contains(remakers, schema.FromAPIVersionAndKind(owners[i].APIVersion, owners[i].Kind).GroupKind())
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// leaving reports whether a pod is on its way out and nothing of a tenant holds
// it. A container that ends well on its signal makes it a pod that has ended.
func leaving(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp != nil && !slices.Contains(pod.Finalizers, rewrite.FinalizerVirtual)
}

// pods returns the cluster's pods on the host, without those that stay there.
func (c Cluster) pods(ctx context.Context) ([]corev1.Pod, error) {
	// The second key is on translations of pods only, not on the control plane.
	selector := fmt.Sprintf("%s=%s,%s", rewrite.LabelCluster, c.Name, rewrite.LabelNamespace)
	pods, err := c.Host.CoreV1().Pods(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("list pods of virtual cluster %s: %w", c.Name, err)
	}
	if c.Stays == nil {
		return pods.Items, nil
	}
	return slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return c.Stays(&p) }), nil
}

// removePods removes the pods that have not ended, and waits for their end.
func (c Cluster) removePods(ctx context.Context) error {
	pods, err := c.pods(ctx)
	if err != nil {
		return err
	}
	records, err := c.records(ctx)
	if err != nil {
		return err
	}
	for i := range pods {
		pod := &pods[i]
		// A pod with a record was deleted by a call that was cut off, and may have
		// ended since.
		if ended(pod) && (pod.DeletionTimestamp == nil || !slices.ContainsFunc(records, recordOf(pod))) {
			continue
		}
		// A tenant's deletion goes on.
		if pod.DeletionTimestamp == nil && !remade(pod) {
			if err := c.writeDown(ctx, pod); err != nil {
				return err
			}
		}
		if err := c.remove(ctx, pod); err != nil {
			return fmt.Errorf("remove pod %s: %w", pod.Name, err)
		}
	}
	left := 0
	err = wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		pods, err := c.pods(ctx)
		left = 0
		for i := range pods {
			if !ended(&pods[i]) || leaving(&pods[i]) {
				left++
			}
		}
		return left == 0, err
	})
	if err != nil {
		return fmt.Errorf("wait for the end of %d pods: %w", left, err)
	}
	return nil
}

// remove deletes a pod, and then takes the finalizers of the virtual one from it,
// whose owners cannot remove them while the cluster is paused. In the other order,
// a call that is cut off would leave a pod that runs without them, and the next
// one would write it down so.
func (c Cluster) remove(ctx context.Context, pod *corev1.Pod) error {
	pods, uid := c.Host.CoreV1().Pods(c.Namespace), pod.UID
	if pod.DeletionTimestamp == nil {
		err := pods.Delete(ctx, pod.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(uid))})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		now, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if now.UID != uid || !slices.Contains(now.Finalizers, rewrite.FinalizerVirtual) {
			return nil
		}
		now.Finalizers = slices.DeleteFunc(now.Finalizers, func(f string) bool { return f == rewrite.FinalizerVirtual })
		_, err = pods.Update(ctx, now, metav1.UpdateOptions{})
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// restorePods makes every pod again that was written down.
func (c Cluster) restorePods(ctx context.Context) error {
	records, err := c.records(ctx)
	if err != nil || len(records) == 0 {
		return err
	}
	anchor, err := c.Host.CoreV1().ConfigMaps(c.Namespace).Get(ctx, rewrite.AnchorName(c.Name), metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get the anchor of virtual cluster %s, which owns its pods: %w", c.Name, err)
	}
	var failed []error
	for i := range records {
		if err := c.restore(ctx, &records[i], anchor); err != nil {
			failed = append(failed, fmt.Errorf("make the pod of %s again: %w", records[i].Name, err))
		}
	}
	return errors.Join(failed...)
}

func (c Cluster) restore(ctx context.Context, record *corev1.Secret, anchor *corev1.ConfigMap) error {
	pod, err := read(record)
	if err != nil {
		return err
	}
	controller := true
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: anchor.Name, UID: anchor.UID, Controller: &controller}}
	pods := c.Host.CoreV1().Pods(c.Namespace)
	err = wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		_, err := pods.Create(ctx, pod, metav1.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) {
			return err == nil, err
		}
		there, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		// One that is on its way out is from before the pause, which may have been
		// cut off before it took the finalizers. Any other was not removed, or is
		// from a call of Resume that was cut off.
		if err != nil || there.DeletionTimestamp == nil {
			return err == nil, err
		}
		return false, c.remove(ctx, there)
	})
	if err != nil {
		return err
	}
	return c.forget(ctx, record)
}
