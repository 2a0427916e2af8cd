// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// images maps images as the cluster's configuration says, in containers and in
// image volumes.
func (c *translation) images(spec *corev1.PodSpec) {
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
func (c *restoration) images(v *corev1.Pod) {
	back := func(key string, image *string) { unreplace(c.overlay, key, image) }
	eachContainer(&v.Spec, func(key string, ctr *corev1.Container) { back(key+".image", &ctr.Image) })
	for i := range v.Spec.Volumes {
		if vol := &v.Spec.Volumes[i]; vol.Image != nil {
			back(element("volumes", vol.Name)+".image", &vol.Image.Reference)
		}
	}
	eachStatus(&v.Status, func(key string, s *corev1.ContainerStatus) {
		back(key+".image", &s.Image)
		var r replaced[string]
		if s.State.Waiting != nil && c.overlay.get(key+".image", &r) {
			s.State.Waiting.Message = replaceImage(s.State.Waiting.Message, r.Host, r.Virtual)
		}
	})
}

// imagesToVirtual puts the tenant's images into a text about a virtual pod,
// and first those of the container that it is about, if that is not empty: two
// images of the tenant's may be one on the host.
func (t *Translator) imagesToVirtual(text string, v *corev1.Pod, container string) string {
	if len(t.cluster.Images) == 0 {
		return text
	}
	back := func(virtual string) {
		if host, ok := t.cluster.Images[virtual]; ok {
			text = replaceImage(text, host, virtual)
		}
	}
	for _, its := range []bool{true, false} {
		eachContainer(&v.Spec, func(_ string, ctr *corev1.Container) {
			if (ctr.Name == container) == its {
				back(ctr.Image)
			}
		})
	}
	for i := range v.Spec.Volumes {
		if image := v.Spec.Volumes[i].Image; image != nil {
			back(image.Reference)
		}
	}
	return text
}

// replaceImage replaces an image where it stands in quotes, as components of
// Kubernetes and container runtimes write it.
func replaceImage(text, host, virtual string) string {
	return strings.ReplaceAll(text, strconv.Quote(host), strconv.Quote(virtual))
}
