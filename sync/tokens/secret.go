// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/hostview"
)

const (
	// annotationRenewAt says when the tokens are due, so that a restart neither renews all of them at once nor misses one.
	annotationRenewAt = rewrite.Prefix + "token-renew-at"
	// annotationKeys lists the keys of the Secret: the view does not hold its content.
	annotationKeys = rewrite.Prefix + "token-keys"
	// kindToken in the kind annotation keeps the Secret from being taken for a Secret of the tenant.
	kindToken = "PodToken"
)

// secret returns the host Secret of a pod.
func (m *Manager) secret(pod *corev1.Pod, tokens minted) *corev1.Secret {
	marks := m.translator.NamespaceSelector(pod.Namespace)
	marks[hostview.LabelToken] = "true"
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: m.namespace,
			Name:      m.translator.TokenSecretName(pod.Namespace, pod.Name),
			Labels:    marks,
			Annotations: map[string]string{
				rewrite.AnnotationNamespace: pod.Namespace,
				rewrite.AnnotationName:      pod.Name,
				rewrite.AnnotationKind:      kindToken,
				annotationRenewAt:           tokens.renewAt.UTC().Format(time.RFC3339),
				annotationKeys:              joinKeys(tokens.data),
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "Pod", Name: m.translator.Name(pod.Namespace, pod.Name), UID: pod.UID,
			}},
		},
		Type: corev1.SecretTypeOpaque,
		Data: tokens.data,
	}
}

// due says when the tokens of the pod in this Secret must be renewed: the zero time if now, because it is
// of an earlier pod, or it lacks a token.
func due(secret *corev1.Secret, pod *corev1.Pod, projections []rewrite.TokenProjection) time.Time {
	if !ownedBy(secret, pod.UID) || secret.DeletionTimestamp != nil {
		return time.Time{}
	}
	keys := make(map[string][]byte, len(projections))
	for _, p := range projections {
		keys[p.Key] = nil
	}
	if secret.Annotations[annotationKeys] != joinKeys(keys) {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, secret.Annotations[annotationRenewAt])
	if err != nil {
		return time.Time{}
	}
	return at
}

// write brings the Secret to the host. The view only spares a call: the host's answer decides.
func (m *Manager) write(ctx context.Context, want *corev1.Secret, pod *corev1.Pod) error {
	secrets := m.host.CoreV1().Secrets(m.namespace)
	_, err := secrets.Create(ctx, want, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return describe("create", pod, err)
	}
	old, err := secrets.Get(ctx, want.Name, metav1.GetOptions{})
	if err != nil {
		return describe("read", pod, err) // not found: it was just collected, and the next try creates it
	}
	if !m.ours(old, pod) {
		return fmt.Errorf("write the token secret of pod %s/%s: a host object with its name is not ours", pod.Namespace, pod.Name)
	}
	if !ownedBy(old, pod.UID) || old.DeletionTimestamp != nil || isTrue(old.Immutable) {
		// Of an earlier pod of this name. The garbage collector may be about to delete it, with its uid as a
		// precondition: a new object is safe from that, a changed one might not be.
		err := secrets.Delete(ctx, old.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(old.UID))})
		if err != nil && !apierrors.IsNotFound(err) {
			return describe("replace", pod, err)
		}
		_, err = secrets.Create(ctx, want, metav1.CreateOptions{})
		return describe("create", pod, err)
	}
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"uid": old.UID, "resourceVersion": old.ResourceVersion,
			"labels": want.Labels, "annotations": want.Annotations,
		},
		"data": withRemovals(want.Data, old.Data),
	})
	if err != nil {
		return describe("encode", pod, err)
	}
	_, err = secrets.Patch(ctx, want.Name, types.MergePatchType, body, metav1.PatchOptions{})
	return describe("renew", pod, err)
}

// ours reports whether a host Secret is the token Secret of this virtual pod's name. Only the host can set these keys.
func (m *Manager) ours(secret *corev1.Secret, pod *corev1.Pod) bool {
	return m.translator.ScopeSelector().Matches(labels.Set(secret.Labels)) &&
		secret.Labels[hostview.LabelToken] != "" &&
		secret.Annotations[rewrite.AnnotationNamespace] == pod.Namespace &&
		secret.Annotations[rewrite.AnnotationName] == pod.Name
}

// withRemovals returns data as a merge patch that also removes the keys that only old has.
func withRemovals(data, old map[string][]byte) map[string]any {
	patch := make(map[string]any, len(data))
	for key := range old {
		patch[key] = nil
	}
	for key, value := range data {
		patch[key] = value
	}
	return patch
}

func ownedBy(secret *corev1.Secret, uid types.UID) bool {
	return slices.ContainsFunc(secret.OwnerReferences, func(o metav1.OwnerReference) bool { return o.Kind == "Pod" && o.UID == uid })
}

// describe adds what was done to which pod. The host's error names the Secret, never its content.
func describe(action string, pod *corev1.Pod, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s the token secret of pod %s/%s: %w", action, pod.Namespace, pod.Name, err)
}

func joinKeys(data map[string][]byte) string {
	keys := make([]string, 0, len(data))
	for key := range data {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return strings.Join(keys, ",")
}

func isTrue(b *bool) bool { return b != nil && *b }
