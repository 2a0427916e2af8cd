// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The downward API shows a container its own pod, and on the host that is the
// host pod. Paths that would show something of the host read an annotation
// instead, which ToHost keeps in step:
//
//	metadata.name, .namespace, .labels, .annotations, spec.serviceAccountName
//
// A single label or annotation reads itself, under the key that it has on the
// host: nearly always its own. A reserved key reads a hashed one, with the value
// that the tenant wrote if there is one, so Portico's own labels and the overlay
// stay out of sight.
// The uid, the node and the addresses are the same on both sides.

// hostFieldPath returns the annotation that stands for a path on the host.
func hostFieldPath(path string) (annotation string, ok bool) {
	switch path {
	case "metadata.name":
		return AnnotationName, true
	case "metadata.namespace":
		return AnnotationNamespace, true
	case "metadata.labels":
		return AnnotationLabels, true
	case "metadata.annotations":
		return AnnotationAnnotations, true
	case "spec.serviceAccountName":
		return AnnotationServiceAccount, true
	}
	return "", false
}

// virtualFieldPath is the inverse of hostFieldPath.
func virtualFieldPath(annotation string) (path string, ok bool) {
	switch annotation {
	case AnnotationName:
		return "metadata.name", true
	case AnnotationNamespace:
		return "metadata.namespace", true
	case AnnotationLabels:
		return "metadata.labels", true
	case AnnotationAnnotations:
		return "metadata.annotations", true
	case AnnotationServiceAccount:
		return "spec.serviceAccountName", true
	}
	return "", false
}

// fieldPath returns the path that reads the same value on the host as path
// reads inside.
func (c *translation) fieldPath(path string) string {
	if annotation, ok := hostFieldPath(path); ok {
		c.keys.add(path)
		return subscript("metadata.annotations", annotation)
	}
	field, key, ok := splitSubscript(path)
	switch {
	case ok && field == "metadata.labels":
		return subscript(field, c.labelKey(key))
	case ok && field == "metadata.annotations" && !c.t.keys[c.kind].annotations.passes(key):
		c.keys.add(key)
		return subscript(field, movedAnnotationKey(key))
	}
	return path
}

func (c *restoration) fieldPath(path string) string {
	field, key, ok := splitSubscript(path)
	switch {
	case ok && field == "metadata.labels":
		k, _ := c.labelKey(key)
		return subscript(field, k)
	case ok && field == "metadata.annotations":
		if virtual, ok := virtualFieldPath(key); ok {
			return virtual
		}
		if k, ok := c.keys[key]; ok {
			return subscript(field, k)
		}
	}
	return path
}

// downward writes the annotations that the downward API of this pod reads.
// virtual is the pod's metadata as the tenant sees it.
func (c *translation) downward(out map[string]string, virtual *metav1.ObjectMeta, serviceAccount string) {
	for key := range c.keys {
		switch annotation, whole := hostFieldPath(key); {
		case !whole:
			if v, ok := virtual.Annotations[key]; ok {
				out[movedAnnotationKey(key)] = v
			}
		case annotation == AnnotationLabels:
			out[annotation] = formatMap(virtual.Labels)
		case annotation == AnnotationAnnotations:
			out[annotation] = formatMap(virtual.Annotations)
		case annotation == AnnotationServiceAccount:
			out[annotation] = serviceAccount
		}
	}
}

func subscript(field, key string) string { return field + "['" + key + "']" }

// splitSubscript splits a path such as metadata.labels['key'] as the kubelet
// does (k8s.io/kubernetes/pkg/fieldpath).
func splitSubscript(path string) (field, key string, ok bool) {
	inner, ok := strings.CutSuffix(path, "']")
	if !ok {
		return "", "", false
	}
	field, key, ok = strings.Cut(inner, "['")
	return field, key, ok && field != ""
}

// formatMap prints labels as the kubelet does for the downward API.
func formatMap(m map[string]string) string {
	var out []byte
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if len(out) > 0 {
			out = append(out, '\n')
		}
		out = append(out, k...)
		out = append(out, '=')
		out = strconv.AppendQuote(out, m[k])
	}
	return string(out)
}
