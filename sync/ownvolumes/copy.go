// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package ownvolumes

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/copies"
	"portico.dev/portico/sync/kinds"
)

// copiesOf returns how copies are kept.
func (c *Controller) copiesOf(seen cache.Store) copies.Kind[*corev1.PersistentVolume] {
	return copies.Kind[*corev1.PersistentVolume]{
		Client: c.cfg.Host.CoreV1().PersistentVolumes(),
		Seen: func(name string) (*corev1.PersistentVolume, error) {
			return kinds.Stored[*corev1.PersistentVolume](seen, "", name)
		},
		Removed: &copies.Removed{},
		Ours: func(h *corev1.PersistentVolume) bool {
			_, ours := c.cfg.Translator.PersistentVolumeToVirtual(h)
			return ours
		},
		Rules: copies.Rules[*corev1.PersistentVolume]{
			Same: func(want, host *corev1.PersistentVolume) bool {
				return !fixed(want, host) && equality.Semantic.DeepEqual(next(want, host).Spec, host.Spec)
			},
			Fixed:  fixed,
			Update: next,
		},
	}
}

// fixed reports whether a copy is for another claim, or of another place, which no
// update changes (ValidatePersistentVolumeUpdate).
func fixed(want, host *corev1.PersistentVolume) bool {
	return host.Spec.ClaimRef == nil || host.Spec.ClaimRef.UID != want.Spec.ClaimRef.UID ||
		!within(fieldsOf(&want.Spec.PersistentVolumeSource), fieldsOf(&host.Spec.PersistentVolumeSource))
}

// fieldsOf returns a source as its JSON has it.
func fieldsOf(source *corev1.PersistentVolumeSource) map[string]any {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(source)
	if err != nil {
		return nil // a source that has been decoded can be encoded
	}
	return fields
}

// within reports whether a host has all fields of a source. It may have more: those
// that its version gives a default.
func within(want, host map[string]any) bool {
	for key, value := range want {
		inner, nested := value.(map[string]any)
		hosts, _ := host[key].(map[string]any)
		if nested && (hosts == nil || !within(inner, hosts)) || !nested && !equality.Semantic.DeepEqual(value, host[key]) {
			return false
		}
	}
	return true
}

// next gives a copy the parts of a volume that can change. A volume that has grown
// on the host does not shrink.
func next(want, host *corev1.PersistentVolume) *corev1.PersistentVolume {
	out, spec := host.DeepCopy(), want.Spec.DeepCopy()
	out.Spec.Capacity, out.Spec.AccessModes, out.Spec.MountOptions = spec.Capacity, spec.AccessModes, spec.MountOptions
	out.Spec.StorageClassName, out.Spec.PersistentVolumeReclaimPolicy = spec.StorageClassName, spec.PersistentVolumeReclaimPolicy
	if grown := host.Spec.Capacity.Storage(); grown.Cmp(*spec.Capacity.Storage()) > 0 {
		out.Spec.Capacity = host.DeepCopy().Spec.Capacity
	}
	if out.Spec.NodeAffinity == nil {
		out.Spec.NodeAffinity = spec.NodeAffinity
	}
	return out
}

// bound keeps the copy of a volume whose claim is there, and shows when the host has
// bound both.
func (c *Controller) bound(ctx context.Context, v *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) (time.Duration, error) {
	t := c.cfg.Translator
	hostClaim, err := rewrite.Find(t, "PersistentVolumeClaim", claim.Namespace, claim.Name, func(name string) (*corev1.PersistentVolumeClaim, error) {
		return c.cfg.Host.CoreV1().PersistentVolumeClaims(t.Cluster().HostNamespace).Get(ctx, name, metav1.GetOptions{})
	})
	if err != nil {
		return 0, fmt.Errorf("get the host claim of %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	if hostClaim.UID != claim.UID {
		return 0, nil // another by now: its event is on the way
	}
	want := t.PersistentVolumeToHost(v, hostClaim)
	if !c.copies.Known(want.Name) && !c.room.Take(want.Name) {
		c.report(v, fmt.Sprintf("the host has %d volumes of this cluster, which is the most that it can have", c.room.Most()))
		return whenFull, nil
	}
	if _, err := c.copies.Write(ctx, want); err != nil {
		c.room.Free(want.Name)
		if copies.Refused(err) {
			c.report(v, "the host of this cluster does not take it: "+string(apierrors.ReasonForError(err)))
		}
		return 0, fmt.Errorf("volume %q on the host: %w", v.Name, err)
	}
	seen, ok := c.copies.Look(want.Name)
	switch {
	case !ok || seen.Status.Phase != corev1.VolumeBound:
		return 0, nil // its event is on the way
	case seen.Spec.Capacity.Storage().Cmp(*v.Spec.Capacity.Storage()) > 0:
		grown := v.DeepCopy()
		grown.Spec.Capacity = seen.DeepCopy().Spec.Capacity
		return 0, c.update(ctx, grown)
	}
	return 0, c.show(ctx, v, corev1.VolumeBound, "")
}

// released ends a volume whose claim is gone, as its policy says.
func (c *Controller) released(ctx context.Context, v *corev1.PersistentVolume) error {
	hosts, hostName := c.cfg.Host.CoreV1().PersistentVolumes(), c.cfg.Translator.ClusterName(v.Name)
	host, err := hosts.Get(ctx, hostName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		c.room.Free(hostName)
		host = nil
	case err != nil:
		return fmt.Errorf("get the copy of volume %q: %w", v.Name, err)
	case !c.copies.Ours(host):
		host = nil
	}
	ends, err := c.ends(ctx, v)
	if err != nil {
		return err
	}
	policy := corev1.PersistentVolumeReclaimRetain
	if ends {
		policy = corev1.PersistentVolumeReclaimDelete
	}
	switch {
	case host == nil && ends:
		return c.forget(ctx, v)
	case host != nil && host.DeletionTimestamp == nil && host.Spec.PersistentVolumeReclaimPolicy != policy:
		told := host.DeepCopy()
		told.Spec.PersistentVolumeReclaimPolicy = policy
		if _, err := hosts.Update(ctx, told, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("give the copy of volume %q the policy %s: %w", v.Name, policy, err)
		}
		klog.FromContext(ctx).Info("Claim of a volume is gone", "virtualVolume", v.Name, "hostVolume", host.Name, "policy", policy)
	}
	if host != nil && host.Status.Phase == corev1.VolumeFailed {
		known := map[string]rewrite.VirtualRef{host.Name: {Name: v.Name}}
		return c.show(ctx, v, corev1.VolumeFailed, c.cfg.Translator.TextToVirtual(host.Status.Message, known))
	}
	return c.show(ctx, v, corev1.VolumeReleased, "")
}

// ends reports whether what a volume has is to be deleted, as the API has the
// volume now. An informer may be behind, and deleted data does not come back.
func (c *Controller) ends(ctx context.Context, v *corev1.PersistentVolume) (bool, error) {
	now, err := c.cfg.Virtual.CoreV1().PersistentVolumes().Get(ctx, v.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("get volume %q: %w", v.Name, err)
	}
	ref := now.Spec.ClaimRef
	if now.UID != v.UID || now.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete || ref == nil || ref.UID != v.Spec.ClaimRef.UID {
		return false, nil
	}
	claim, err := c.cfg.Virtual.CoreV1().PersistentVolumeClaims(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("get virtual claim %s/%s: %w", ref.Namespace, ref.Name, err)
	}
	return claim.UID != ref.UID, nil
}

// forget deletes a volume that the host has deleted.
func (c *Controller) forget(ctx context.Context, v *corev1.PersistentVolume) error {
	err := c.cfg.Virtual.CoreV1().PersistentVolumes().Delete(ctx, v.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &v.UID, ResourceVersion: &v.ResourceVersion},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete volume %q: %w", v.Name, err)
	}
	return nil
}

// remove takes the copy of a volume off the host, if there is one. The copy is
// retained, so its data stays where it is.
func (c *Controller) remove(ctx context.Context, name string) error {
	hostName := c.cfg.Translator.ClusterName(name)
	removed, err := c.copies.RemoveSeen(ctx, hostName)
	if err != nil {
		return fmt.Errorf("remove the copy of volume %q: %w", name, err)
	}
	if removed {
		c.room.Free(hostName)
		klog.FromContext(ctx).V(2).Info("Deleted the copy of a volume", "virtualVolume", name, "hostVolume", hostName)
	}
	return nil
}
