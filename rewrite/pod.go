// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	corev1 "k8s.io/api/core/v1"

	"portico.dev/portico/rewrite/rules"
)

var pods = kind[*corev1.Pod]{
	name: "Pod", validate: ValidatePod, admit: (*translation).admitPod, translate: (*translation).pod, restore: (*restoration).pod,
	status: rules.Pod.Status,
}

// PodToHost returns the host pod of a virtual pod.
func (t *Translator) PodToHost(v *corev1.Pod, in Inputs) (*corev1.Pod, error) {
	return pods.hostOf(t, v, in)
}

// PodToVirtual returns the virtual pod that a host pod is. With a
// *CorruptOverlayError the pod is usable.
func (t *Translator) PodToVirtual(h *corev1.Pod) (*corev1.Pod, error) {
	return pods.virtualOf(t, h)
}

// pod runs the passes over h, which is a copy of v when they begin. Passes that
// write virtual names come before the names are translated, those that write
// host names after.
func (c *translation) pod(h, v *corev1.Pod) {
	was, there := c.in.Host.(*corev1.Pod)
	c.bound = there && was.Spec.NodeName == "" && v.Spec.NodeName != ""
	c.own(&v.Spec)
	c.ephemeralVolumes(h)
	c.resourceClaims(&h.Spec)

	c.references(h)
	c.claimStatuses(h)

	c.identity(&h.Spec)
	c.projections(h.Spec.Volumes, ownersMode(&v.Spec))
	c.env(&h.Spec, v.Spec.EnableServiceLinks)
	c.images(&h.Spec)
	c.network(&h.Spec)
	c.placement(&h.Spec)
	c.affinity(h, v.Labels)
	c.etcHosts(h, v)
	c.gates(h)

	c.downward(h.Annotations, &v.ObjectMeta, v.Spec.ServiceAccountName)
}

// pod undoes the passes of translation.pod, last one first.
func (c *restoration) pod(v, h *corev1.Pod) {
	c.etcHosts(v)
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
