// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package volumes

import (
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/kinds"
)

const (
	// AnnotationHost marks a volume that is the host's. Its value is the uid there.
	AnnotationHost = kinds.AnnotationHostVolume
	// hiddenDriver stands for a source that is not shown: a volume must have one.
	hiddenDriver = "host.portico.dev"
	// classAnnotation is how classes were given before the field.
	classAnnotation = corev1.BetaStorageClassAnnotation
)

// view returns a host volume as it is shown. text turns host names in a text into
// virtual ones, and class the name of a host's storage class.
func view(host *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim, text, class func(string) string) *corev1.PersistentVolume {
	out := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: host.Name, Labels: map[string]string{}, Annotations: map[string]string{}},
		Spec:       *host.Spec.DeepCopy(),
	}
	// Finalizers are the host's: nothing here would ever remove them.
	for k, v := range host.Labels {
		if !strings.HasPrefix(k, rewrite.Prefix) {
			out.Labels[k] = v
		}
	}
	for _, k := range []string{"pv.kubernetes.io/provisioned-by", "pv.kubernetes.io/bound-by-controller", classAnnotation} {
		if v, ok := host.Annotations[k]; ok {
			out.Annotations[k] = v
		}
	}
	if old, ok := out.Annotations[classAnnotation]; ok {
		out.Annotations[classAnnotation] = class(old)
	}
	out.Annotations[AnnotationHost] = string(host.UID)
	out.Spec.StorageClassName = class(out.Spec.StorageClassName)
	out.Spec.ClaimRef = claimRef(claim)
	out.Spec.PersistentVolumeSource = source(host, text)
	return out
}

// source returns where a volume is, as far as tenants may know. Sources that need a
// Secret to be valid, and rare ones, are not shown: a source without a case here is
// hidden.
func source(host *corev1.PersistentVolume, text func(string) string) corev1.PersistentVolumeSource {
	s := host.Spec.PersistentVolumeSource.DeepCopy()
	switch {
	case s.CSI != nil:
		// Attributes are between the provisioner and the driver, and may name
		// Secrets too.
		return corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
			Driver: s.CSI.Driver, VolumeHandle: text(s.CSI.VolumeHandle), ReadOnly: s.CSI.ReadOnly, FSType: s.CSI.FSType,
		}}
	case s.HostPath != nil:
		// Provisioners like to put the claim's name into the path.
		return corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: text(s.HostPath.Path), Type: s.HostPath.Type}}
	case s.Local != nil:
		return corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: text(s.Local.Path), FSType: s.Local.FSType}}
	case s.NFS != nil:
		return corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: s.NFS.Server, Path: text(s.NFS.Path), ReadOnly: s.NFS.ReadOnly}}
	default:
		return hidden(host.Name)
	}
}

func hidden(name string) corev1.PersistentVolumeSource {
	return corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: hiddenDriver, VolumeHandle: name}}
}

func claimRef(claim *corev1.PersistentVolumeClaim) *corev1.ObjectReference {
	return &corev1.ObjectReference{
		APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
	}
}

// mirrored reports whether a volume is one of the host.
func mirrored(shown *corev1.PersistentVolume) bool { return kinds.IsHostVolume(shown) }

// otherVolume reports whether want is of another host volume.
func otherVolume(shown, want *corev1.PersistentVolume) bool {
	return shown.Annotations[AnnotationHost] != want.Annotations[AnnotationHost]
}

// next returns shown with the mutable fields of want. The source, volume mode and
// node affinity are as when it was made: the API does not let them change.
func next(shown, want *corev1.PersistentVolume) *corev1.PersistentVolume {
	out := shown.DeepCopy()
	out.Labels, out.Annotations = overlay(shown.Labels, want.Labels), overlay(shown.Annotations, want.Annotations)
	out.Spec.Capacity, out.Spec.AccessModes = want.Spec.Capacity, want.Spec.AccessModes
	out.Spec.StorageClassName, out.Spec.VolumeAttributesClassName = want.Spec.StorageClassName, want.Spec.VolumeAttributesClassName
	out.Spec.PersistentVolumeReclaimPolicy, out.Spec.MountOptions = want.Spec.PersistentVolumeReclaimPolicy, want.Spec.MountOptions
	out.Spec.ClaimRef = want.Spec.ClaimRef
	return out
}

// overlay returns have with all of want set: a tenant's additions stay.
func overlay(have, want map[string]string) map[string]string {
	if len(want) == 0 {
		return have
	}
	out := maps.Clone(have)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, want)
	return out
}
