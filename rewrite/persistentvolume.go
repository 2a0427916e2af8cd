// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"portico.dev/portico/rewrite/rules"
)

// PersistentVolumeToHost returns the host copy of a tenant's volume, which
// PersistentVolumeProblems has found nothing against, for the host claim that it is
// bound to.
//
// The copy is never without a claim: any claim of the host could get it, and
// would write to a place that the tenant chose. It is always retained: whether its
// data goes is decided when the claim is gone (D-087). It has none of the tenant's
// labels and annotations.
func (t *Translator) PersistentVolumeToHost(v *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	h := &corev1.PersistentVolume{ObjectMeta: t.bareClass("PersistentVolume", v.Name), Spec: *v.Spec.DeepCopy()}
	h.Spec.ClaimRef = &corev1.ObjectReference{
		APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: t.cluster.HostNamespace, Name: claim.Name, UID: claim.UID,
	}
	h.Spec.StorageClassName = classOf(claim)
	h.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
	return h
}

// PersistentVolumeToVirtual returns the name of the tenant's volume that a host
// volume is the copy of, and whether it is a copy of this cluster.
func (t *Translator) PersistentVolumeToVirtual(h *corev1.PersistentVolume) (name string, ours bool) {
	return t.PushedClass("PersistentVolume", h)
}

// PersistentVolumeProblems lists the parts of a tenant's volume that the host must
// not get. drivers are those that the operator allows, by the names of
// rules.VolumeDrivers and rules.NodeVolumes. Everything allows all of the first,
// but none that reaches into a node.
func PersistentVolumeProblems(v *corev1.PersistentVolume, drivers []string) field.ErrorList {
	spec := field.NewPath("spec")
	errs := sourceProblems(spec, &v.Spec.PersistentVolumeSource, drivers)
	for i, option := range v.Spec.MountOptions {
		if _, value, ok := strings.Cut(option, "="); ok && strings.Contains(value, "/") {
			errs = append(errs, field.Forbidden(spec.Child("mountOptions").Index(i), "names a path of the node"))
		}
	}
	if v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRecycle {
		errs = append(errs, field.Forbidden(spec.Child("persistentVolumeReclaimPolicy"), "the host of this cluster does not recycle volumes: use Retain or Delete"))
	}
	if v.Spec.VolumeAttributesClassName != nil {
		errs = append(errs, field.Forbidden(spec.Child("volumeAttributesClassName"), "does not reach the host: leave it out"))
	}
	return errs
}

func sourceProblems(path *field.Path, source *corev1.PersistentVolumeSource, drivers []string) field.ErrorList {
	body, err := json.Marshal(source)
	parts := map[string]any{}
	if err == nil {
		err = json.Unmarshal(body, &parts)
	}
	if err != nil {
		return field.ErrorList{field.InternalError(path, err)}
	}
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		path, driver := path.Child(name), rules.VolumeDrivers[name]
		onNode := rules.NodeVolumes[name]
		switch {
		case onNode != "":
			driver = onNode
		case name == "csi" && source.CSI != nil:
			driver = source.CSI.Driver
		case name == "flexVolume" && source.FlexVolume != nil:
			driver = source.FlexVolume.Driver
		}
		if onNode != "" && !slices.Contains(drivers, onNode) || onNode == "" && !allows(drivers, driver) {
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("the host of this cluster does not let its volumes have the driver %q; a PersistentVolumeClaim of a storage class may", driver)))
			continue
		}
		errs = append(errs, secretProblems(path, parts[name])...)
	}
	return errs
}

// secretProblems lists the keys of a source that lead a driver to a Secret, or to a
// file of the node with one: drivers read them with rights of their own.
func secretProblems(path *field.Path, part any) field.ErrorList {
	var errs field.ErrorList
	switch part := part.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(part)) {
			if DangerousParameter(key) || strings.EqualFold(key, "keyring") {
				errs = append(errs, field.Forbidden(path.Child(key), "names a Secret or a namespace of the host, or a credential, and is the operator's to choose"))
				continue
			}
			errs = append(errs, secretProblems(path.Child(key), part[key])...)
		}
	case []any:
		for i := range part {
			errs = append(errs, secretProblems(path.Index(i), part[i])...)
		}
	}
	return errs
}
