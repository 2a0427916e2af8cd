// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package ownvolumes

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	volumehelpers "k8s.io/component-helpers/storage/volume"
)

const (
	// boundByController is the mark of a claim that a volume did not name itself
	// (pkg/controller/volume/persistentvolume).
	boundByController = volumehelpers.AnnBoundByController
	// noProvisioner is the provisioner of classes whose volumes are all made by
	// hand (pkg/volume/util).
	noProvisioner = "kubernetes.io/no-provisioner"
)

var everything = labels.Everything()

// match returns the claim that is to have a free volume: the oldest one for which
// upstream's rules find no better volume.
func (c *Controller) match(v *corev1.PersistentVolume) (*corev1.PersistentVolumeClaim, error) {
	claims, err := c.claims.List(everything)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(claims, func(a, b *corev1.PersistentVolumeClaim) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	own := c.offered()
	for _, claim := range claims {
		if !c.waits(claim, v.Name) {
			continue
		}
		candidates := own
		if claim.Spec.VolumeName != "" {
			candidates = []*corev1.PersistentVolume{v}
		}
		best, err := bestOf(candidates, claim)
		if err != nil {
			return nil, err
		}
		if best != nil && best.Name == v.Name {
			return claim, nil
		}
	}
	return nil, nil
}

// bestOf returns the volume of several that upstream's controller gives to a claim; nil
// is none.
func bestOf(candidates []*corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) (*corev1.PersistentVolume, error) {
	var usable []*corev1.PersistentVolume
	for _, v := range candidates {
		// FindMatchingVolume leaves this to its callers.
		if volumehelpers.CheckAccessModes(claim, v) {
			usable = append(usable, v)
		}
	}
	best, err := volumehelpers.FindMatchingVolume(claim, usable, nil, nil, false, true)
	if err != nil {
		return nil, fmt.Errorf("find a volume for claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	return best, nil
}

// offered returns the volumes that claims may have. One without a claim is as good
// as Available, also if nobody has said so yet: the choice must not depend on which
// of several volumes is looked at first.
func (c *Controller) offered() []*corev1.PersistentVolume {
	var out []*corev1.PersistentVolume
	for _, v := range c.own() {
		if len(c.cfg.Limits.Problems(v)) > 0 {
			continue
		}
		if v.Spec.ClaimRef == nil && v.Status.Phase != corev1.VolumeAvailable {
			v = v.DeepCopy()
			v.Status.Phase = corev1.VolumeAvailable
		}
		out = append(out, v)
	}
	return out
}

// waits reports whether a claim may be given a volume here: it asks for this one,
// or has no volume, and nobody will make one for it.
func (c *Controller) waits(claim *corev1.PersistentVolumeClaim, volume string) bool {
	if claim.DeletionTimestamp != nil {
		return false
	}
	if claim.Spec.VolumeName != "" {
		return claim.Spec.VolumeName == volume
	}
	class, err := c.classes.Get(volumehelpers.GetPersistentVolumeClaimClass(claim))
	if err != nil {
		return true // without a class, or with one that is only a name
	}
	delayed := class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
	return class.Provisioner == noProvisioner && (!delayed || !c.cfg.Scheduler)
}

// claim gives a volume its claim. The volume comes first: the claim cannot be taken
// back from it.
func (c *Controller) claim(ctx context.Context, v *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) error {
	next, changed, err := volumehelpers.GetBindVolumeToClaim(v, claim)
	if err != nil {
		return fmt.Errorf("bind volume %q: %w", v.Name, err)
	}
	if !changed {
		return nil
	}
	return c.update(ctx, next)
}

// promise gives a claim the volume that names it, under its virtual name: the host
// would write another one. A volume that does not fit stays free.
func (c *Controller) promise(ctx context.Context, v *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) error {
	fits, err := bestOf([]*corev1.PersistentVolume{v}, claim)
	if err != nil {
		return err
	}
	if fits == nil {
		c.report(v, fmt.Sprintf("the volume is too small for the claim %s/%s, or has another mode or other access modes", claim.Namespace, claim.Name))
		return c.show(ctx, v, corev1.VolumeAvailable, "")
	}
	if v.Spec.ClaimRef.UID == "" {
		return c.claim(ctx, v, claim)
	}
	claims := c.cfg.Virtual.CoreV1().PersistentVolumeClaims(claim.Namespace)
	now, err := claims.Get(ctx, claim.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("get virtual claim %s/%s: %w", claim.Namespace, claim.Name, err)
	case now.UID != claim.UID || now.Spec.VolumeName != "":
		return nil // its event is on the way
	}
	now.Spec.VolumeName = v.Name
	if _, err := claims.Update(ctx, now, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("bind claim %s/%s to volume %q: %w", claim.Namespace, claim.Name, v.Name, err)
	}
	return nil
}
