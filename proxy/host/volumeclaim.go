// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	volumehelpers "k8s.io/component-helpers/storage/volume"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/rewrite/rules"
)

// claimFacts finds out whether the class of a claim, which it gets now, is one of
// the tenant's that the host has a copy of. When that cannot be found out the
// claim is refused: its class cannot be corrected later.
func (s *Storage) claimFacts(ctx context.Context, k key, v runtime.Object, in *rewrite.Inputs) error {
	claim, ok := v.(*corev1.PersistentVolumeClaim)
	if !ok || s.cfg.PushedStorage == nil {
		return nil
	}
	class := volumehelpers.GetPersistentVolumeClaimClass(claim)
	if has, ok := in.Host.(*corev1.PersistentVolumeClaim); class == "" || ok && volumehelpers.GetPersistentVolumeClaimClass(has) != "" {
		return nil
	}
	pushed, err := s.cfg.PushedStorage(ctx, class)
	switch {
	case errors.Is(err, rewrite.ErrNoClass):
		return apierrors.NewForbidden(s.resource, k.name, err)
	case err != nil:
		klog.FromContext(ctx).Error(err, "Storage class of a claim cannot be looked up", "virtualObject", k.ref())
		return unavailable("the storage class of the claim cannot be looked up now")
	case pushed:
		in.PushedStorage = class
	}
	return nil
}

// mayCreateClaim refuses a claim of a storage class of the host that the operator
// does not offer, and one for a node that is not shown.
func (s *Storage) mayCreateClaim(ctx context.Context, k key, h runtime.Object) error {
	claim, ok := h.(*corev1.PersistentVolumeClaim)
	if !ok {
		return nil
	}
	if err := s.mayHaveVolumeOn(k, claim.Annotations[rules.SelectedNode]); err != nil {
		return err
	}
	return s.mayHaveClass(ctx, k, claim)
}

// mayHaveVolumeOn refuses a claim whose volume is needed on a node that this
// cluster does not show.
func (s *Storage) mayHaveVolumeOn(k key, node string) error {
	if node == "" || s.cfg.NodeTakesPods != nil && s.cfg.NodeTakesPods(node) {
		return nil
	}
	return s.unknownNode(k, node)
}

func (s *Storage) mayHaveClass(ctx context.Context, k key, claim *corev1.PersistentVolumeClaim) error {
	if s.cfg.MayHaveStorage == nil {
		return nil
	}
	class := volumehelpers.GetPersistentVolumeClaimClass(claim)
	if s.cfg.Translator.HasPushedStorage(claim) {
		return nil // PushedStorage has judged it
	}
	offered, err := s.cfg.MayHaveStorage(ctx, class)
	switch {
	case err != nil:
		klog.FromContext(ctx).Error(err, "Storage class of a claim cannot be looked up", "virtualObject", k.ref())
		return unavailable("the storage class of the claim cannot be looked up now")
	case !offered:
		return apierrors.NewForbidden(s.resource, k.name, fmt.Errorf("the host of this cluster does not offer the storage class %q to it; kubectl get storageclasses lists those that it offers", class))
	}
	return nil
}

// mayUpdateClaim does the same when a claim gets its class or its node later. All
// other changes are possible: an operator may offer a class no longer.
func (s *Storage) mayUpdateClaim(ctx context.Context, k key, p plan) error {
	claim, ok := p.after.(*corev1.PersistentVolumeClaim)
	if !ok {
		return nil
	}
	for _, st := range p.steps {
		annotations, _ := st.metadata["annotations"].(map[string]any)
		if node, ok := annotations[rules.SelectedNode].(string); ok {
			if err := s.mayHaveVolumeOn(k, node); err != nil {
				return err
			}
		}
		_, annotated := annotations[corev1.BetaStorageClassAnnotation]
		if _, ok := st.spec["storageClassName"]; ok || annotated {
			return s.mayHaveClass(ctx, k, claim)
		}
	}
	return nil
}
