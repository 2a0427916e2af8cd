// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"portico.dev/portico/rewrite"
)

// Annotations of the anchor.
const (
	// AnnotationPurpose explains the anchor in words.
	AnnotationPurpose = rewrite.Prefix + "purpose"
	// AnnotationServiceIP remembers the address of the cluster's own Service,
	// which is in every pod and in the door's certificate, beyond the life of
	// that Service. AnnotationDNSIP does so for the DNS.
	AnnotationServiceIP = rewrite.Prefix + "service-ip"
)

// ComposedAnchor is the purpose of the anchor, which sets it apart from copies
// of a tenant's ConfigMaps.
const ComposedAnchor = "anchor"

// ensureAnchor creates the ConfigMap that owns every host object of the cluster
// if it is not there: deleting it deletes the cluster's pods and claims. It has
// no other use, so that no object that is deleted for another reason takes them
// along, and it has no finalizer, so that the host namespace can always go. made
// says that it was not there.
func (o Options) ensureAnchor(ctx context.Context, client kubernetes.Interface) (anchor *corev1.ConfigMap, made bool, err error) {
	all, want := client.CoreV1().ConfigMaps(o.Namespace), o.anchor()
	err = retry.OnError(retry.DefaultBackoff, apierrors.IsAlreadyExists, func() error {
		anchor, err = all.Get(ctx, want.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			anchor, err = all.Create(ctx, want, metav1.CreateOptions{FieldManager: fieldManager})
			made = err == nil
			return err
		}
		if err != nil {
			return err
		}
		if anchor.DeletionTimestamp != nil {
			return fmt.Errorf("it is being deleted, and the whole cluster with it")
		}
		return o.ours(anchor)
	})
	return anchor, made, err
}

func (o Options) anchor() *corev1.ConfigMap {
	labels := o.labels()
	labels[rewrite.LabelComposed] = ComposedAnchor
	immutable := true
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: rewrite.AnchorName(o.Cluster), Namespace: o.Namespace, Labels: labels,
			Annotations: map[string]string{AnnotationPurpose: fmt.Sprintf(
				"Owns every object of the virtual cluster %s in this namespace. Deleting it deletes the cluster's pods, Services, volume claims with their data, and Secrets.", o.Cluster)},
		},
		Immutable: &immutable,
	}
}

// ownerOf returns the reference to the anchor that makes it the controller.
func ownerOf(anchor *corev1.ConfigMap) metav1.OwnerReference {
	controller := true
	return metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: anchor.Name, UID: anchor.UID, Controller: &controller}
}

// note keeps an address on the anchor.
func (o Options) note(ctx context.Context, client kubernetes.Interface, key, ip string) error {
	anchors, name := client.CoreV1().ConfigMaps(o.Namespace), rewrite.AnchorName(o.Cluster)
	anchor, err := anchors.Get(ctx, name, metav1.GetOptions{})
	if err != nil || anchor.Annotations[key] == ip {
		return err
	}
	body := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, key, ip)
	_, err = anchors.Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: fieldManager})
	return err
}
