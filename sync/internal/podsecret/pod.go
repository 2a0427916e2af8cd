// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package podsecret

import corev1 "k8s.io/api/core/v1"

// Finished reports whether no container of the pod will start again, so that a
// new Secret would be of no use.
func Finished(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}
