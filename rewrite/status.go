// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"cmp"
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// StatusToVirtual returns a Status of the host, about the host object of the
// virtual object namespace/name, as the tenant should read it.
func (t *Translator) StatusToVirtual(s metav1.Status, namespace, name string) metav1.Status {
	ref := VirtualRef{Namespace: namespace, Name: name}
	known := map[string]VirtualRef{
		t.Name(namespace, name):        ref,
		t.ServiceName(namespace, name): ref,
	}
	if former, ok := t.FormerName(namespace, name); ok {
		known[former] = ref
	}
	return t.StatusWith(s, known)
}

// StatusWith is StatusToVirtual for a caller that knows more names, such as
// those of Known.
func (t *Translator) StatusWith(s metav1.Status, known map[string]VirtualRef) metav1.Status {
	out := *s.DeepCopy()
	out.Message = t.TextToVirtual(s.Message, known)
	if out.Details == nil {
		return out
	}
	if ref, ok := known[out.Details.Name]; ok {
		out.Details.Name = ref.Name
	}
	for i := range out.Details.Causes {
		cause := &out.Details.Causes[i]
		cause.Message = t.TextToVirtual(cause.Message, known)
		cause.Field = t.TextToVirtual(cause.Field, known)
	}
	return out
}

// Known returns the names that can stand in a text about a host object of the
// given kind: its own, and those that it refers to. It is empty for an object
// that is not ours.
func (t *Translator) Known(kind string, m metav1.Object) map[string]VirtualRef {
	c, err := t.open(kind, m)
	if err != nil {
		return map[string]VirtualRef{}
	}
	return c.known()
}

func (c *restoration) known() map[string]VirtualRef {
	out := make(map[string]VirtualRef, len(c.names)+3)
	for host, name := range c.names {
		out[host] = VirtualRef{Namespace: c.namespace, Name: name}
	}
	if hostName, err := c.t.HostName(c.kind, c.namespace, c.name); err == nil {
		out[hostName] = VirtualRef{Namespace: c.namespace, Name: c.name}
	}
	if former, ok := c.t.FormerName(c.namespace, c.name); ok {
		out[former] = VirtualRef{Namespace: c.namespace, Name: c.name}
	}
	var class replaced[string]
	if c.overlay.get(pushedPriority, &class) {
		out[class.Host] = VirtualRef{Name: class.Virtual}
	}
	var storage replaced[*string]
	if c.overlay.get(pushedStorage, &storage) && storage.Host != nil {
		class := cmp.Or(c.overlay.Annotations[corev1.BetaStorageClassAnnotation], ptr.Deref(storage.Virtual, ""))
		out[*storage.Host] = VirtualRef{Name: class}
	}
	if c.kind == "Pod" {
		maps.Copy(out, c.t.ComposedNames(c.namespace, c.name, nil))
	}
	return out
}
