// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	corev1 "k8s.io/api/core/v1"
)

// ephemeralVolumes turns generic ephemeral volumes into claims of the same
// name. The virtual ephemeral-volume controller makes the claim, so that the
// tenant sees one with the name that Kubernetes documents. The name is a
// virtual one here; the walker translates it with the others.
func (c *toHost) ephemeralVolumes(h *corev1.Pod) {
	for i := range h.Spec.Volumes {
		v := &h.Spec.Volumes[i]
		if v.Ephemeral == nil {
			continue
		}
		replace(c.overlay, element("volumes", v.Name), &v.VolumeSource, corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: ephemeralClaim(c.name, v.Name)},
		})
	}
}

func (c *toVirtual) ephemeralVolumes(v *corev1.Pod) {
	for i := range v.Spec.Volumes {
		unreplace(c.overlay, element("volumes", v.Spec.Volumes[i].Name), &v.Spec.Volumes[i].VolumeSource)
	}
}

// ephemeralClaim is the name of the claim of an ephemeral volume
// (k8s.io/component-helpers/storage/ephemeral).
func ephemeralClaim(pod, volume string) string { return pod + "-" + volume }
