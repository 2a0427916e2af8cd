// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"portico.dev/portico/rewrite/rules"
)

// Everything is the entry of a list of allowed names that allows all names.
const Everything = "*"

// The functions here list the values that a tenant may not add to an object. In
// contrast to those of validate.go, they depend on the configuration and on the
// object's present values: values on the host may stay, so that an object which
// was made under another configuration, or changed by the host, can still be
// changed and deleted.

// admitPod refuses volumes of drivers that the operator did not allow, and
// ephemeral containers that reach for parts of the pod which the host added, and
// new pods that project too much. In a new pod seen is nil.
func (c *translation) admitPod(v, seen *corev1.Pod) field.ErrorList {
	spec := field.NewPath("spec")
	var errs field.ErrorList
	if seen == nil {
		seen = &corev1.Pod{}
		errs = admitProjections(spec.Child("volumes"), v)
	}
	for i := range v.Spec.Volumes {
		volume := &v.Spec.Volumes[i]
		same := func(o corev1.Volume) bool { return apiequality.Semantic.DeepEqual(&o, volume) }
		if !slices.ContainsFunc(seen.Spec.Volumes, same) {
			errs = append(errs, c.admitVolume(spec.Child("volumes").Index(i), &volume.VolumeSource)...)
		}
	}
	for i := range v.Spec.EphemeralContainers {
		container := &v.Spec.EphemeralContainers[i]
		same := func(o corev1.EphemeralContainer) bool { return apiequality.Semantic.DeepEqual(&o, container) }
		if !slices.ContainsFunc(seen.Spec.EphemeralContainers, same) {
			errs = append(errs, c.admitEphemeral(spec.Child("ephemeralContainers").Index(i), container, &seen.Spec)...)
		}
	}
	return errs
}

// maxComposed and maxBundles are far more than any pod needs. Each of the first
// is a signature or a key pair, made again while the pod lives, and each bundle
// a file of one ConfigMap.
const (
	maxComposed = 100
	maxBundles  = 500
)

// admitProjections refuses a new pod for which too much would be composed at the
// door: tokens, certificates and trust anchors.
func admitProjections(path *field.Path, v *corev1.Pod) field.ErrorList {
	var errs field.ErrorList
	if n := len(TokenProjections(v)) + len(CertificateProjections(v)); n > maxComposed {
		errs = append(errs, field.Invalid(path, n, fmt.Sprintf("must not project more than %d tokens and certificates in all", maxComposed)))
	}
	if n := len(TrustBundles(v)); n > maxBundles {
		errs = append(errs, field.Invalid(path, n, fmt.Sprintf("must not project more than %d trust bundles", maxBundles)))
	}
	return errs
}

// admitVolume goes by the table of sources. One that is in no table is refused.
func (c *translation) admitVolume(path *field.Path, source *corev1.VolumeSource) field.ErrorList {
	var errs field.ErrorList
	fields := reflect.ValueOf(source).Elem()
	for i := range fields.NumField() {
		name, _, _ := strings.Cut(fields.Type().Field(i).Tag.Get("json"), ",")
		if _, plain := rules.PlainVolumes[name]; plain || fields.Field(i).IsNil() {
			continue
		}
		path, driver := path.Child(name), rules.VolumeDrivers[name]
		switch {
		case source.CSI != nil && name == "csi":
			path, driver = path.Child("driver"), source.CSI.Driver
		case source.FlexVolume != nil && name == "flexVolume":
			path, driver = path.Child("driver"), source.FlexVolume.Driver
		}
		if !allows(c.t.cluster.VolumeDrivers, driver) {
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("pods of this cluster may not have volumes of the driver %q; a PersistentVolumeClaim may", driver)))
		}
	}
	return errs
}

// admitEphemeral refuses a new ephemeral container that mounts a volume, or
// shares the processes of a container, which a webhook of the host put into the
// pod: a sidecar's credentials are the operator's.
func (c *translation) admitEphemeral(path *field.Path, container *corev1.EphemeralContainer, seen *corev1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	volumes := c.injected(ownVolumes, volumeNamesOf(seen))
	refuse := func(path *field.Path, what, name string, of set) {
		if of.has(name) {
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("the %s %q was added to the pod by the host of this cluster, and is not the pod's own", what, name)))
		}
	}
	for i := range container.VolumeMounts {
		refuse(path.Child("volumeMounts").Index(i).Child("name"), "volume", container.VolumeMounts[i].Name, volumes)
	}
	for i := range container.VolumeDevices {
		refuse(path.Child("volumeDevices").Index(i).Child("name"), "volume", container.VolumeDevices[i].Name, volumes)
	}
	for i := range container.Env {
		if from := container.Env[i].ValueFrom; from != nil && from.FileKeyRef != nil {
			refuse(path.Child("env").Index(i).Child("valueFrom", "fileKeyRef", "volumeName"), "volume", from.FileKeyRef.VolumeName, volumes)
		}
	}
	refuse(path.Child("targetContainerName"), "container", container.TargetContainerName, c.injected(ownContainers, containerNamesOf(seen)))
	return errs
}

// The records of the parts of a pod that its tenant wrote.
const (
	ownVolumes    = "volumes"
	ownContainers = "containers"
)

// own remembers which volumes and containers a new pod has: all others that it
// has later are the host's.
func (c *translation) own(v *corev1.PodSpec) {
	for key, names := range map[string][]string{ownVolumes: volumeNamesOf(v), ownContainers: containerNamesOf(v)} {
		if c.in.Host != nil {
			names = nil
			c.prior.get(key, &names)
		}
		if len(names) > 0 {
			c.overlay.put(key, names)
		}
	}
}

// injected returns those of the names that the host added. Where the record was
// lost, all are.
func (c *translation) injected(key string, names []string) set {
	var own []string
	c.prior.get(key, &own)
	out := set{}
	for _, name := range names {
		if !slices.Contains(own, name) {
			out.add(name)
		}
	}
	return out
}

func volumeNamesOf(spec *corev1.PodSpec) []string {
	var names []string
	for i := range spec.Volumes {
		names = append(names, spec.Volumes[i].Name)
	}
	return names
}

// containerNamesOf returns the names of the containers that an ephemeral one may
// have for its target.
func containerNamesOf(spec *corev1.PodSpec) []string {
	var names []string
	for i := range spec.InitContainers {
		names = append(names, spec.InitContainers[i].Name)
	}
	for i := range spec.Containers {
		names = append(names, spec.Containers[i].Name)
	}
	return names
}

// admitService refuses external IPs: on every node of the host, traffic to one
// goes to the Service, also traffic that is meant for others (CVE-2020-8554).
// The door's admission does so before (DenyServiceExternalIPs); nothing depends
// on it.
func (c *translation) admitService(v, seen *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	for i, ip := range v.Spec.ExternalIPs {
		if seen == nil || !slices.Contains(seen.Spec.ExternalIPs, ip) {
			errs = append(errs, field.Forbidden(field.NewPath("spec", "externalIPs").Index(i), "Services of this cluster may not have external IPs"))
		}
	}
	return errs
}

// allows reports whether a list of allowed names has a name.
func allows(list []string, name string) bool {
	return slices.Contains(list, Everything) || name != "" && slices.Contains(list, name)
}
