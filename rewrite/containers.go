// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	corev1 "k8s.io/api/core/v1"
)

// images maps images as the cluster's configuration says, in containers and in
// image volumes.
func (c *toHost) images(spec *corev1.PodSpec) {
	swap := func(key string, image *string) {
		if host, ok := c.t.cluster.Images[*image]; ok {
			replace(c.overlay, key, image, host)
		}
	}
	eachContainer(spec, func(key string, ctr *corev1.Container) { swap(key+".image", &ctr.Image) })
	for i := range spec.Volumes {
		if v := &spec.Volumes[i]; v.Image != nil {
			swap(element("volumes", v.Name)+".image", &v.Image.Reference)
		}
	}
}

// images shows the tenant's images, also where the status repeats them.
func (c *toVirtual) images(v *corev1.Pod) {
	back := func(key string, image *string) { unreplace(c.overlay, key, image) }
	eachContainer(&v.Spec, func(key string, ctr *corev1.Container) { back(key+".image", &ctr.Image) })
	for i := range v.Spec.Volumes {
		if vol := &v.Spec.Volumes[i]; vol.Image != nil {
			back(element("volumes", vol.Name)+".image", &vol.Image.Reference)
		}
	}
	eachStatus(&v.Status, func(key string, s *corev1.ContainerStatus) { back(key+".image", &s.Image) })
}
