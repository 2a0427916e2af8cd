// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// systemClasses begins the names of the priority classes that Kubernetes keeps
// for itself. Their values are above what any other class may have.
const systemClasses = "system-"

// ofHost ends the key of what the host's admission computes from a class of its
// own. The tenant's value is shown until the host has one.
const ofHost = ".host"

// priority passes a priority class on if it is the host's. The host's admission
// then resolves it once more; what the door's admission made of it is left out,
// because the host refuses values that differ from its own. Of any other class
// nothing reaches the host: a tenant must not preempt the host or a neighbour.
func (c *toHost) priority(spec *corev1.PodSpec) {
	name := func(s *corev1.PodSpec) string { return s.PriorityClassName }
	if c.passes("priorityClassName", spec, name, c.in.HostClasses.Priority) {
		replace(c.overlay, "priority"+ofHost, &spec.Priority, nil)
		replace(c.overlay, "preemptionPolicy"+ofHost, &spec.PreemptionPolicy, nil)
		return
	}
	// Also a pod without a class has a record: the host gives it the name of its
	// own default class.
	c.overlay.put("priorityClassName", spec.PriorityClassName)
	spec.PriorityClassName = ""
	drop(c.overlay, "priority", &spec.Priority)
	drop(c.overlay, "preemptionPolicy", &spec.PreemptionPolicy)
}

func (c *toVirtual) priority(spec *corev1.PodSpec) {
	unreplace(c.overlay, "preemptionPolicy"+ofHost, &spec.PreemptionPolicy)
	unreplace(c.overlay, "priority"+ofHost, &spec.Priority)
	undrop(c.overlay, "preemptionPolicy", &spec.PreemptionPolicy)
	undrop(c.overlay, "priority", &spec.Priority)
	undrop(c.overlay, "priorityClassName", &spec.PriorityClassName)
}

// runtimeClass is priority for the runtime class and its overhead.
func (c *toHost) runtimeClass(spec *corev1.PodSpec) {
	name := func(s *corev1.PodSpec) string { return ptr.Deref(s.RuntimeClassName, "") }
	if c.passes("runtimeClassName", spec, name, c.in.HostClasses.Runtime) {
		replace(c.overlay, "overhead"+ofHost, &spec.Overhead, nil)
		return
	}
	drop(c.overlay, "runtimeClassName", &spec.RuntimeClassName)
	drop(c.overlay, "overhead", &spec.Overhead)
}

func (c *toVirtual) runtimeClass(spec *corev1.PodSpec) {
	unreplace(c.overlay, "overhead"+ofHost, &spec.Overhead)
	undrop(c.overlay, "overhead", &spec.Overhead)
	undrop(c.overlay, "runtimeClassName", &spec.RuntimeClassName)
}

// passes reports whether the host pod has the class of a field. It is decided
// when the pod is created; later, the pod on the host tells what was.
func (c *toHost) passes(field string, spec *corev1.PodSpec, name func(*corev1.PodSpec) string, hosts string) bool {
	class := name(spec)
	if class == "" || strings.HasPrefix(class, systemClasses) {
		return false
	}
	if host, ok := c.in.Host.(*corev1.Pod); ok {
		_, dropped := c.prior.Records[field]
		return !dropped && name(&host.Spec) == class
	}
	return class == hosts
}
