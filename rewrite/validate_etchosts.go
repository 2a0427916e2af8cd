// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"errors"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const etcHostsDetail = "the name " + EtcHostsName + " is reserved"

// validateEtcHosts lists the places where a pod uses the name of the parts that
// etchosts.go adds to it, or may have added: that depends on the configuration at
// the time.
func validateEtcHosts(v *corev1.Pod) field.ErrorList {
	var errs field.ErrorList
	reserved := func(path *field.Path, name string) {
		if name == EtcHostsName {
			errs = append(errs, field.Forbidden(path, etcHostsDetail))
		}
	}
	if value, ok := v.Annotations[AnnotationEtcHosts]; ok && value != etcHostsOfKubelet {
		errs = append(errs, field.NotSupported(field.NewPath("metadata", "annotations").Key(AnnotationEtcHosts), value, []string{etcHostsOfKubelet}))
	}
	spec := field.NewPath("spec")
	for i := range v.Spec.InitContainers {
		containerNames(spec.Child("initContainers").Index(i), &v.Spec.InitContainers[i], reserved)
	}
	for i := range v.Spec.Containers {
		containerNames(spec.Child("containers").Index(i), &v.Spec.Containers[i], reserved)
	}
	for i := range v.Spec.EphemeralContainers {
		c, path := &v.Spec.EphemeralContainers[i], spec.Child("ephemeralContainers").Index(i)
		containerNames(path, (*corev1.Container)(&c.EphemeralContainerCommon), reserved)
		reserved(path.Child("targetContainerName"), c.TargetContainerName)
	}
	for i := range v.Spec.Volumes {
		volumeNames(spec.Child("volumes").Index(i), &v.Spec.Volumes[i], reserved)
	}
	status := field.NewPath("status")
	for _, list := range []struct {
		name     string
		statuses []corev1.ContainerStatus
	}{
		{"initContainerStatuses", v.Status.InitContainerStatuses},
		{"containerStatuses", v.Status.ContainerStatuses},
		{"ephemeralContainerStatuses", v.Status.EphemeralContainerStatuses},
	} {
		for i := range list.statuses {
			s, path := &list.statuses[i], status.Child(list.name).Index(i)
			reserved(path.Child("name"), s.Name)
			for j := range s.VolumeMounts {
				reserved(path.Child("volumeMounts").Index(j).Child("name"), s.VolumeMounts[j].Name)
			}
		}
	}
	return errs
}

// RefusesEtcHosts reports whether a host has refused a pod for the names of the
// parts in it: a host that is itself a virtual cluster has such parts of its own.
func RefusesEtcHosts(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(c metav1.StatusCause) bool {
		return c.Type == metav1.CauseTypeForbidden && strings.HasSuffix(c.Message, etcHostsDetail)
	})
}

// containerNames calls do for the names of containers and volumes that a
// container has or refers to.
func containerNames(path *field.Path, c *corev1.Container, do func(*field.Path, string)) {
	do(path.Child("name"), c.Name)
	for i := range c.VolumeMounts {
		do(path.Child("volumeMounts").Index(i).Child("name"), c.VolumeMounts[i].Name)
	}
	for i := range c.VolumeDevices {
		do(path.Child("volumeDevices").Index(i).Child("name"), c.VolumeDevices[i].Name)
	}
	for i := range c.Env {
		from := c.Env[i].ValueFrom
		if from == nil {
			continue
		}
		path := path.Child("env").Index(i).Child("valueFrom")
		if r := from.ResourceFieldRef; r != nil {
			do(path.Child("resourceFieldRef", "containerName"), r.ContainerName)
		}
		if r := from.FileKeyRef; r != nil {
			do(path.Child("fileKeyRef", "volumeName"), r.VolumeName)
		}
	}
}

// volumeNames is containerNames for a volume.
func volumeNames(path *field.Path, v *corev1.Volume, do func(*field.Path, string)) {
	do(path.Child("name"), v.Name)
	items := func(path *field.Path, items []corev1.DownwardAPIVolumeFile) {
		for i := range items {
			if r := items[i].ResourceFieldRef; r != nil {
				do(path.Child("items").Index(i).Child("resourceFieldRef", "containerName"), r.ContainerName)
			}
		}
	}
	if v.DownwardAPI != nil {
		items(path.Child("downwardAPI"), v.DownwardAPI.Items)
	}
	if v.Projected != nil {
		for i := range v.Projected.Sources {
			if d := v.Projected.Sources[i].DownwardAPI; d != nil {
				items(path.Child("projected", "sources").Index(i).Child("downwardAPI"), d.Items)
			}
		}
	}
}
