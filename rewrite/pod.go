// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	corev1 "k8s.io/api/core/v1"
)

var pods = kind[*corev1.Pod]{
	name: "Pod", validate: ValidatePod, admit: (*toHost).admitPod, toHost: (*toHost).pod, toVirtual: (*toVirtual).pod, decided: podDecided,
}

// PodToHost returns the host pod of a virtual pod.
func (t *Translator) PodToHost(v *corev1.Pod, in Inputs) (*corev1.Pod, error) {
	return pods.hostOf(t, v, in)
}

// PodToVirtual returns the virtual pod that a host pod is. Beside a
// *CorruptOverlayError the pod is usable.
func (t *Translator) PodToVirtual(h *corev1.Pod) (*corev1.Pod, error) {
	return pods.virtualOf(t, h)
}

// pod runs the passes over h, which is a copy of v when they begin. Passes that
// write virtual names come before the names are translated, those that write
// host names after.
func (c *toHost) pod(h, v *corev1.Pod) {
	c.own(&v.Spec)
	c.ephemeralVolumes(h)
	c.resourceClaims(&h.Spec)

	c.references(h)
	c.claimStatuses(&h.Status)

	c.identity(&h.Spec)
	c.projections(h.Spec.Volumes)
	c.env(&h.Spec, v.Spec.EnableServiceLinks)
	c.images(&h.Spec)
	c.network(&h.Spec)
	c.placement(&h.Spec)
	c.affinity(h, v.Labels)
	c.hosts(h, v)

	c.downward(h.Annotations, &v.ObjectMeta, v.Spec.ServiceAccountName)
}

// podDecided keeps what the host acts on in a status. Its API server proxies to
// podIP, its endpoint controllers and node proxies send a Service's traffic
// there, and its scheduler reserves the nominated node and makes claims of its
// own: a status is written by the components of a cluster, and a tenant is none
// of the host's. What a status says, in conditions, reason and message, is the
// tenant's too: readiness gates live by it. So are the names of the claims made
// for the pod, of which the host takes only those that the pod controls.
func podDecided(h, host *corev1.Pod) {
	to, from := &h.Status, &host.Status
	to.PodIP, to.PodIPs, to.HostIP, to.HostIPs = from.PodIP, from.PodIPs, from.HostIP, from.HostIPs
	to.NominatedNodeName = from.NominatedNodeName
	to.ExtendedResourceClaimStatus = from.ExtendedResourceClaimStatus
	to.NodeAllocatableResourceClaimStatuses = from.NodeAllocatableResourceClaimStatuses
	if len(host.Spec.ResourceClaims) == 0 {
		to.ResourceClaimStatuses = from.ResourceClaimStatuses
	}
}

// pod undoes the passes of toHost.pod, last one first.
func (c *toVirtual) pod(v, h *corev1.Pod) {
	c.hosts(v)
	c.affinity(v)
	c.placement(&v.Spec)
	c.network(&v.Spec)
	c.images(v)
	c.env(&v.Spec)
	c.projections(v.Spec.Volumes)
	c.identity(&v.Spec, &h.Spec)

	c.claimStatuses(&v.Status)
	c.references(v)

	c.resourceClaims(&v.Spec)
	c.ephemeralVolumes(v)
}

// eachContainer calls do for every container of a pod, with the key of its
// records. Ephemeral containers have the same fields as the others.
func eachContainer(spec *corev1.PodSpec, do func(key string, c *corev1.Container)) {
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		do(element("initContainers", c.Name), c)
	}
	for i := range spec.Containers {
		c := &spec.Containers[i]
		do(element("containers", c.Name), c)
	}
	for i := range spec.EphemeralContainers {
		c := (*corev1.Container)(&spec.EphemeralContainers[i].EphemeralContainerCommon)
		do(element("ephemeralContainers", c.Name), c)
	}
}

// eachStatus calls do for the status of every container of a pod, with the key
// of the container's records.
func eachStatus(status *corev1.PodStatus, do func(key string, s *corev1.ContainerStatus)) {
	for i := range status.InitContainerStatuses {
		s := &status.InitContainerStatuses[i]
		do(element("initContainers", s.Name), s)
	}
	for i := range status.ContainerStatuses {
		s := &status.ContainerStatuses[i]
		do(element("containers", s.Name), s)
	}
	for i := range status.EphemeralContainerStatuses {
		s := &status.EphemeralContainerStatuses[i]
		do(element("ephemeralContainers", s.Name), s)
	}
}

// element is the key of the records of one element of a list.
func element(list, name string) string { return list + "[" + name + "]" }
