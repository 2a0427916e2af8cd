// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// ephemeralVolumes turns generic ephemeral volumes into claims of the same
// name. The virtual ephemeral-volume controller makes the claim, so that the
// tenant sees one with the name that Kubernetes documents. The name is a
// virtual one here; the walker translates it with the others.
func (c *translation) ephemeralVolumes(h *corev1.Pod) {
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

func (c *restoration) ephemeralVolumes(v *corev1.Pod) {
	for i := range v.Spec.Volumes {
		unreplace(c.overlay, element("volumes", v.Spec.Volumes[i].Name), &v.Spec.Volumes[i].VolumeSource)
	}
	for i := range v.Status.Conditions {
		v.Status.Conditions[i].Message = ephemeralToVirtual(v.Status.Conditions[i].Message, v)
	}
}

// ephemeralToVirtual gives a text in virtual names, about a virtual pod, the
// words that a scheduler has for a claim of an ephemeral volume that is not
// there yet. The host's scheduler sees any claim
// (k8s.io/kubernetes/pkg/scheduler/framework/plugins/volumebinding).
func ephemeralToVirtual(text string, v *corev1.Pod) string {
	for i := range v.Spec.Volumes {
		if volume := &v.Spec.Volumes[i]; volume.Ephemeral != nil {
			claim := fmt.Sprintf("persistentvolumeclaim %q", ephemeralClaim(v.Name, volume.Name))
			text = strings.ReplaceAll(text, claim+" not found", "waiting for ephemeral volume controller to create the "+claim)
		}
	}
	return text
}

// ephemeralClaim is the name of the claim of an ephemeral volume
// (k8s.io/component-helpers/storage/ephemeral).
func ephemeralClaim(pod, volume string) string { return pod + "-" + volume }
