// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package podsecret

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/utils/ptr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/copies"
	"portico.dev/portico/sync/internal/hostview"
)

const (
	// annotationRenewAt says when the content is due, so that a restart neither
	// renews all of it at once nor misses some.
	annotationRenewAt = rewrite.Prefix + "renew-at"
	// annotationKeys lists the keys of the Secret: the view does not hold its
	// content.
	annotationKeys = rewrite.Prefix + "keys"
)

// Writer writes the Secrets of one purpose.
type Writer struct {
	Translator *rewrite.Translator
	Host       kubernetes.Interface
	// Purpose sets these Secrets apart from others, and stands in errors.
	Purpose hostview.Purpose
	// Name is the host name of the Secret of a virtual pod, and Former its
	// former one.
	Name, Former func(namespace, pod string) string
	// Secrets are those of the view.
	Secrets corelisters.SecretLister
	// Since is when this process began: no later pod mounts a Secret by its
	// former name.
	Since time.Time
}

// View returns informers over the Secrets of this purpose.
func (w *Writer) View() (informers.SharedInformerFactory, error) {
	return hostview.NewComposedFactory(w.Host, w.Translator, w.Purpose)
}

// KeyOf says which virtual pod a Secret of the view belongs to.
func (w *Writer) KeyOf(obj any) (types.NamespacedName, bool) {
	secret, ok := obj.(*corev1.Secret)
	if !ok {
		return types.NamespacedName{}, false
	}
	key := types.NamespacedName{Namespace: secret.Annotations[rewrite.AnnotationNamespace], Name: secret.Annotations[rewrite.AnnotationName]}
	return key, secret.Name == w.Name(key.Namespace, key.Name) || secret.Name == w.Former(key.Namespace, key.Name)
}

// Seen returns the Secret of a pod that the view has, or nil. If there are two,
// the pod mounts the one with the former name: others never have one.
func (w *Writer) Seen(pod *corev1.Pod) *corev1.Secret {
	seen := w.Secrets.Secrets(w.Translator.Cluster().HostNamespace)
	if secret, err := seen.Get(w.Former(pod.Namespace, pod.Name)); err == nil && w.ours(secret, pod) && OwnedBy(secret, pod.UID) {
		return secret
	}
	if secret, err := seen.Get(w.Name(pod.Namespace, pod.Name)); err == nil {
		return secret
	}
	return nil
}

// place is where the Secret of a pod is on the host, and the host pod that owns
// it there.
type place struct{ secret, pod string }

// placeOf says where the pod mounts its Secret from. A pod of an earlier
// version may be without one still.
func (w *Writer) placeOf(ctx context.Context, pod *corev1.Pod) (place, error) {
	now, former := place{w.Name(pod.Namespace, pod.Name), w.Translator.Name(pod.Namespace, pod.Name)}, w.Former(pod.Namespace, pod.Name)
	switch secret := w.Seen(pod); {
	case secret != nil && secret.Name == former:
		return place{former, ownerName(secret, pod.UID)}, nil
	case secret != nil && OwnedBy(secret, pod.UID) || pod.CreationTimestamp.After(w.Since):
		return now, nil
	}
	pods := w.Host.CoreV1().Pods(w.Translator.Cluster().HostNamespace)
	host, err := rewrite.Find(w.Translator, "Pod", pod.Namespace, pod.Name, func(name string) (*corev1.Pod, error) {
		return pods.Get(ctx, name, metav1.GetOptions{})
	})
	switch {
	case apierrors.IsNotFound(err), errors.Is(err, rewrite.ErrForeign):
		return now, nil // it has just gone
	case err != nil:
		return place{}, err
	case host.UID == pod.UID && slices.Contains(w.Translator.FormerMounts(host), former):
		return place{former, host.Name}, nil
	}
	return now, nil
}

// Due says when the content of a pod's Secret must be renewed: the zero time if
// now, because it is not ours, of an earlier pod, or lacks one of keys.
func (w *Writer) Due(secret *corev1.Secret, pod *corev1.Pod, keys []string) time.Time {
	if !w.ours(secret, pod) || !OwnedBy(secret, pod.UID) || secret.DeletionTimestamp != nil || secret.Annotations[annotationKeys] != joined(keys) {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, secret.Annotations[annotationRenewAt])
	if err != nil {
		return time.Time{}
	}
	return at
}

// Write brings the Secret of a pod to the host. The host's answer decides, not
// the view.
func (w *Writer) Write(ctx context.Context, pod *corev1.Pod, data map[string][]byte, renewAt time.Time) error {
	at, err := w.placeOf(ctx, pod)
	if err != nil {
		return w.describe(pod, err)
	}
	kind := w.kind(pod)
	_, err = kind.Write(ctx, w.secret(pod, at, data, renewAt))
	return w.describe(pod, err)
}

// kind says how the Secret of a pod is written.
func (w *Writer) kind(pod *corev1.Pod) copies.Kind[*corev1.Secret] {
	return copies.Kind[*corev1.Secret]{
		Client: w.Host.CoreV1().Secrets(w.Translator.Cluster().HostNamespace),
		Ours:   func(host *corev1.Secret) bool { return w.ours(host, pod) },
		Rules: copies.Rules[*corev1.Secret]{
			// A Secret of an earlier pod of this name. The garbage collector
			// may be about to delete it, with its uid as a precondition: a new
			// object is safe from that, a changed one might not be.
			Fixed: func(_, host *corev1.Secret) bool {
				return !OwnedBy(host, pod.UID) || ptr.Deref(host.Immutable, false)
			},
			Patch: func(want, host *corev1.Secret) map[string]any {
				return map[string]any{"data": hostview.Changes(want.Data, host.Data)}
			},
		},
	}
}

func (w *Writer) secret(pod *corev1.Pod, at place, data map[string][]byte, renewAt time.Time) *corev1.Secret {
	marks := w.Translator.NamespaceSelector(pod.Namespace)
	marks[hostview.LabelComposed] = string(w.Purpose)
	controller := true
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.Translator.Cluster().HostNamespace,
			Name:      at.secret,
			Labels:    marks,
			Annotations: map[string]string{
				rewrite.AnnotationNamespace: pod.Namespace,
				rewrite.AnnotationName:      pod.Name,
				// Keeps the Secret from being taken for a Secret of the tenant.
				rewrite.AnnotationKind: "Pod/" + string(w.Purpose),
				annotationRenewAt:      renewAt.UTC().Format(time.RFC3339),
				annotationKeys:         joined(slices.Collect(maps.Keys(data))),
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "Pod", Name: at.pod, UID: pod.UID, Controller: &controller,
			}},
		},
		Type: corev1.SecretTypeOpaque,
		Data: data,
	}
}

// ours reports whether a host Secret is the one of this virtual pod's name. Only
// the host can set these keys.
func (w *Writer) ours(secret *corev1.Secret, pod *corev1.Pod) bool {
	return w.Translator.ScopeSelector().Matches(labels.Set(secret.Labels)) &&
		secret.Labels[hostview.LabelComposed] == string(w.Purpose) &&
		secret.Annotations[rewrite.AnnotationNamespace] == pod.Namespace &&
		secret.Annotations[rewrite.AnnotationName] == pod.Name
}

// describe adds which pod it was about. The host's error names the Secret, never
// its content.
func (w *Writer) describe(pod *corev1.Pod, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("write the %s secret of pod %s/%s: %w", w.Purpose, pod.Namespace, pod.Name, err)
}

// OwnedBy reports whether a Secret is of the pod instance with this uid.
func OwnedBy(secret *corev1.Secret, uid types.UID) bool {
	return slices.ContainsFunc(secret.OwnerReferences, func(o metav1.OwnerReference) bool { return o.Kind == "Pod" && o.UID == uid })
}

// ownerName is the name of the owner that OwnedBy finds: the host's garbage
// collector looks for it by that.
func ownerName(secret *corev1.Secret, uid types.UID) string {
	for _, o := range secret.OwnerReferences {
		if o.Kind == "Pod" && o.UID == uid {
			return o.Name
		}
	}
	return ""
}

func joined(keys []string) string {
	slices.Sort(keys)
	return strings.Join(keys, ",")
}
