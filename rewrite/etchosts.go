// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
)

// A pod with a subdomain has a full name, and the kubelet writes it into
// /etc/hosts: that of the host namespace. The address that goes with the virtual
// name is known only when the pod's sandbox is there, and only inside of it. So
// the pod gets an init container, before all others, that copies /etc/hosts with
// the virtual name to a small volume, and every container mounts that copy.
// Where a container has a mount at /etc/hosts, the kubelet keeps away from it
// (k8s.io/kubernetes/pkg/kubelet, makeMounts).
//
// All parts of this have one name, which no tenant can use. That name alone
// identifies them: they are hidden even if the overlay is lost.

// EtcHostsName is the name of the container, and of the volume, that the host pod
// has for its /etc/hosts.
const EtcHostsName = "portico-hosts"

const (
	etcHostsFile  = "/etc/hosts"
	etcHostsProg  = "/portico-hosts" // in the image
	etcHostsDir   = "/shared"        // where it sees the volume
	etcHostsCopy  = "hosts"          // the file in it
	etcHostsUser  = 61247            // not a user of the system, and no tenant's by accident
	etcHostsLimit = 4 << 20          // bytes of the volume; the file has a line for each alias
)

// etcHostsOfKubelet is the value of AnnotationEtcHosts with which a pod keeps the
// /etc/hosts that the kubelet makes.
const etcHostsOfKubelet = "kubelet"

// etcHosts adds the parts to a new pod that needs them, and leaves those of an
// existing pod where they are: neither can ever change.
func (c *translation) etcHosts(h, v *corev1.Pod) {
	if host, ok := c.in.Host.(*corev1.Pod); ok {
		if hasEtcHosts(host) {
			carryEtcHosts(h, host.DeepCopy())
		}
		return
	}
	if c.t.cluster.EtcHostsImage == "" || c.in.ShortName || !hasFullName(v) || v.Annotations[AnnotationEtcHosts] == etcHostsOfKubelet {
		return
	}
	// Not in ephemeral containers: they may not mount a single file.
	for _, list := range [][]corev1.Container{h.Spec.InitContainers, h.Spec.Containers} {
		for i := range list {
			if ctr := &list[i]; !mountsAt(ctr, etcHostsFile) {
				ctr.VolumeMounts = append(ctr.VolumeMounts, corev1.VolumeMount{Name: EtcHostsName, MountPath: etcHostsFile, SubPath: etcHostsCopy})
			}
		}
	}
	h.Spec.InitContainers = slices.Insert(h.Spec.InitContainers, 0, c.etcHostsContainer(&h.Spec, c.hostnameOf(&v.Spec), v.Spec.Subdomain))
	h.Spec.Volumes = append(h.Spec.Volumes, corev1.Volume{Name: EtcHostsName, VolumeSource: corev1.VolumeSource{
		// In memory: a volume on disk would keep the cluster autoscaler from the node.
		EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: resource.NewQuantity(etcHostsLimit, resource.BinarySI)},
	}})
}

// hasFullName reports whether the kubelet of an ordinary cluster would write
// more than a hostname, and on Linux
// (k8s.io/kubernetes/pkg/kubelet, GeneratePodHostNameAndDomain).
func hasFullName(v *corev1.Pod) bool {
	windows := v.Spec.OS != nil && v.Spec.OS.Name == corev1.Windows ||
		v.Spec.NodeSelector[corev1.LabelOSStable] == string(corev1.Windows)
	return v.Spec.Subdomain != "" && !v.Spec.HostNetwork && v.Spec.HostnameOverride == nil && !windows
}

// etcHostsContainer is the init container. It has the requests of the pod's first
// container: so the pod has the same quality of service, takes no more of a
// quota, and meets the same limits as without.
func (c *translation) etcHostsContainer(spec *corev1.PodSpec, hostname, subdomain string) corev1.Container {
	out := corev1.Container{
		Name: EtcHostsName, Image: c.t.cluster.EtcHostsImage, ImagePullPolicy: corev1.PullIfNotPresent,
		Command: []string{etcHostsProg, etcHostsFile, etcHostsDir + "/" + etcHostsCopy, c.fullName(hostname, subdomain), hostname},
		Env: []corev1.EnvVar{{Name: "POD_IPS", ValueFrom: &corev1.EnvVarSource{
			FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "status.podIPs"},
		}}},
		VolumeMounts: []corev1.VolumeMount{{Name: EtcHostsName, MountPath: etcHostsDir}},
		SecurityContext: &corev1.SecurityContext{
			RunAsUser: ptr.To[int64](etcHostsUser), RunAsNonRoot: ptr.To(true),
			Privileged: ptr.To(false), AllowPrivilegeEscalation: ptr.To(false), ReadOnlyRootFilesystem: ptr.To(true),
			Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}
	if len(spec.Containers) > 0 {
		first := &spec.Containers[0].Resources
		out.Resources = corev1.ResourceRequirements{Requests: computing(first.Requests), Limits: computing(first.Limits)}
	}
	return out
}

// fullName is the name that a pod has in DNS.
func (c *translation) fullName(hostname, subdomain string) string {
	return hostname + "." + subdomain + "." + c.namespace + ".svc." + c.t.cluster.ClusterDomain
}

// computing are the resources that every container uses, and no devices.
func computing(list corev1.ResourceList) corev1.ResourceList {
	var out corev1.ResourceList
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
		if q, ok := list[name]; ok {
			if out == nil {
				out = corev1.ResourceList{}
			}
			out[name] = q.DeepCopy()
		}
	}
	return out
}

// mountsAt reports whether a container has something of its own at a path.
func mountsAt(ctr *corev1.Container, at string) bool {
	return slices.ContainsFunc(ctr.VolumeMounts, func(m corev1.VolumeMount) bool { return path.Clean(m.MountPath) == at }) ||
		slices.ContainsFunc(ctr.VolumeDevices, func(d corev1.VolumeDevice) bool { return path.Clean(d.DevicePath) == at })
}

// hasEtcHosts reports whether a pod on the host has the parts.
func hasEtcHosts(p *corev1.Pod) bool {
	for i := range p.Spec.InitContainers {
		if hidden(&p.Spec.InitContainers[i]) {
			return true
		}
	}
	return false
}

// carryEtcHosts puts the hidden parts of the pod on the host into h, each at the
// place that it has there.
func carryEtcHosts(h, host *corev1.Pod) {
	mounts := map[string][]corev1.VolumeMount{}
	eachContainer(&host.Spec, func(key string, ctr *corev1.Container) { mounts[key] = ctr.VolumeMounts })
	eachContainer(&h.Spec, func(key string, ctr *corev1.Container) {
		ctr.VolumeMounts = carry(ctr.VolumeMounts, mounts[key])
	})
	h.Spec.InitContainers = carry(h.Spec.InitContainers, host.Spec.InitContainers)
	h.Spec.Volumes = carry(h.Spec.Volumes, host.Spec.Volumes)
}

// etcHosts hides the parts.
func (c *restoration) etcHosts(v *corev1.Pod) {
	if !hasEtcHosts(v) {
		return
	}
	v.Spec.InitContainers = visible(v.Spec.InitContainers)
	v.Spec.Volumes = visible(v.Spec.Volumes)
	eachContainer(&v.Spec, func(_ string, ctr *corev1.Container) { ctr.VolumeMounts = visible(ctr.VolumeMounts) })
	v.Status.InitContainerStatuses = visible(v.Status.InitContainerStatuses)
	eachStatus(&v.Status, func(_ string, s *corev1.ContainerStatus) { s.VolumeMounts = visible(s.VolumeMounts) })
	for i := range v.Status.Conditions {
		if p := &v.Status.Conditions[i]; p.Type == corev1.PodInitialized && strings.Contains(p.Message, "["+EtcHostsName+"]") {
			p.Message = etcHostsFile + " is not written yet"
		}
	}
	if said, ok := v.Annotations[limitRanger]; ok {
		if said = withoutLimits(said); said == "" {
			delete(v.Annotations, limitRanger)
			v.Annotations = orNilMap(v.Annotations)
		} else {
			v.Annotations[limitRanger] = said
		}
	}
}
