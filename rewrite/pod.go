// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	corev1 "k8s.io/api/core/v1"
)

// PodToHost returns the host pod of a virtual pod.
func (t *Translator) PodToHost(v *corev1.Pod, in Inputs) (*corev1.Pod, error) {
	if err := invalid("Pod", v.Name, ValidatePod(v)); err != nil {
		return nil, err
	}
	c := t.toHost("Pod", v, in)
	h := v.DeepCopy()
	host, _ := in.Host.(*corev1.Pod)
	if host == nil {
		c.metadata(&h.ObjectMeta, nil)
		c.pod(h, v)
		return h, c.seal(&h.ObjectMeta)
	}
	seen, prior, err := t.restorePod(host)
	if err != nil {
		return nil, err
	}
	c.over(prior, &host.ObjectMeta)
	c.metadata(&h.ObjectMeta, &hostMeta{host: &host.ObjectMeta, seen: &seen.ObjectMeta})
	c.pod(h, v)
	host = host.DeepCopy()
	c.keep("", &v.Spec, &seen.Spec, &host.Spec, &h.Spec)
	c.keep("status", &v.Status, &seen.Status, &host.Status, &h.Status)
	return h, c.seal(&h.ObjectMeta)
}

// pod runs the passes over h, which is a copy of v when they begin. Passes that
// write virtual names come before the names are translated, those that write
// host names after.
func (c *toHost) pod(h, v *corev1.Pod) {
	c.ephemeralVolumes(h)

	c.references(h)

	c.identity(&h.Spec)
	c.tokens(h.Spec.Volumes)
	c.env(&h.Spec, v.Spec.EnableServiceLinks)
	c.images(&h.Spec)
	c.network(&h.Spec)
	c.placement(&h.Spec)
	c.affinity(h, v.Labels)

	c.downward(h.Annotations, &v.ObjectMeta, v.Spec.ServiceAccountName)
}

// PodToVirtual returns the virtual pod that a host pod is. Beside a
// *CorruptOverlayError the pod is usable.
func (t *Translator) PodToVirtual(h *corev1.Pod) (*corev1.Pod, error) {
	v, c, err := t.restorePod(h)
	if err != nil {
		return nil, err
	}
	return v, c.err(h.Name)
}

func (t *Translator) restorePod(h *corev1.Pod) (*corev1.Pod, *toVirtual, error) {
	c, err := t.toVirtual("Pod", &h.ObjectMeta)
	if err != nil {
		return nil, nil, err
	}
	v := h.DeepCopy()
	c.metadata(&v.ObjectMeta)
	c.pod(v, h)
	return v, c, nil
}

// pod undoes the passes of toHost.pod, last one first.
func (c *toVirtual) pod(v, h *corev1.Pod) {
	c.affinity(v)
	c.placement(&v.Spec)
	c.network(&v.Spec)
	c.images(v)
	c.env(&v.Spec)
	c.tokens(v.Spec.Volumes)
	c.identity(&v.Spec, &h.Spec)

	c.references(v)

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

// element is the key of the records of one element of a list.
func element(list, name string) string { return list + "[" + name + "]" }
