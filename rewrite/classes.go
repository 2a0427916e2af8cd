// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"
)

// systemClasses begins the names of the priority classes that Kubernetes keeps
// for itself. Their values are above those of all other classes.
const systemClasses = "system-"

// ofHost ends the keys of values that the host's admission computes from a
// class of its own. The tenant's value is shown until the host has one.
const ofHost = ".host"

// pushedPriority is the record of a class that the host has a copy of.
const pushedPriority = "priorityClassName.pushed"

// priority passes a priority class on if it is the host's. The host's admission
// then resolves it once more; the values of the door's admission are left out,
// because the host refuses values that differ from its own. A class of the
// tenant's that the host has a copy of becomes that copy. No other class
// reaches the host: a tenant must not preempt the host or a neighbour.
func (c *translation) priority(spec *corev1.PodSpec) {
	name := func(s *corev1.PodSpec) string { return s.PriorityClassName }
	if c.passes("priorityClassName", spec, name, c.in.HostClasses.Priority) {
		replace(c.overlay, "priority"+ofHost, &spec.Priority, nil)
		replace(c.overlay, "preemptionPolicy"+ofHost, &spec.PreemptionPolicy, nil)
		return
	}
	drop(c.overlay, "priority", &spec.Priority)
	drop(c.overlay, "preemptionPolicy", &spec.PreemptionPolicy)
	if class := spec.PriorityClassName; c.pushes(class) {
		replace(c.overlay, pushedPriority, &spec.PriorityClassName, c.t.ClusterName(class))
		return
	}
	// Also a pod without a class has a record: the host gives it the name of its
	// own default class.
	c.overlay.put("priorityClassName", spec.PriorityClassName)
	spec.PriorityClassName = ""
}

func (c *restoration) priority(spec *corev1.PodSpec) {
	unreplace(c.overlay, "preemptionPolicy"+ofHost, &spec.PreemptionPolicy)
	unreplace(c.overlay, "priority"+ofHost, &spec.Priority)
	undrop(c.overlay, "preemptionPolicy", &spec.PreemptionPolicy)
	undrop(c.overlay, "priority", &spec.Priority)
	undrop(c.overlay, "priorityClassName", &spec.PriorityClassName)
	unreplace(c.overlay, pushedPriority, &spec.PriorityClassName)
}

// pushes reports whether the host pod has the copy of a tenant's class.
func (c *translation) pushes(class string) bool {
	if class == "" || ReservedClass(class) {
		return false
	}
	if host, ok := c.in.Host.(*corev1.Pod); ok {
		_, pushed := c.prior.Records[pushedPriority]
		name := host.Spec.PriorityClassName
		return pushed && c.t.isClusterName(name, class)
	}
	return class == c.in.HostClasses.PushedPriority
}

// PriorityClassToHost returns the host copy of a tenant's class. Its value is
// never above limit, and it is never the default of the host. It has none of
// the tenant's labels and annotations: their meaning on the host is not for the
// tenant to decide. No owner is possible for an object without a namespace; the
// labels of ClusterScope find it.
func (t *Translator) PriorityClassToHost(v *schedulingv1.PriorityClass, limit int32) (*schedulingv1.PriorityClass, error) {
	if ReservedClass(v.Name) {
		return nil, fmt.Errorf("priority class %q is the system's", v.Name)
	}
	h := v.DeepCopy()
	h.ObjectMeta = t.bareClass("PriorityClass", v.Name)
	h.Value, h.GlobalDefault = min(v.Value, limit), false
	return h, nil
}

// PushedClass returns the name of the virtual class of a kind that a host object
// is the copy of, and whether it is one of this cluster.
func (t *Translator) PushedClass(kind string, h metav1.Object) (string, bool) {
	name := h.GetAnnotations()[AnnotationName]
	ours := name != "" && h.GetAnnotations()[AnnotationKind] == kind && t.isClusterName(h.GetName(), name) &&
		labels.SelectorFromSet(t.ClusterScope()).Matches(labels.Set(h.GetLabels()))
	return name, ours
}

// ReservedClass reports whether Kubernetes keeps the name of a class for itself.
func ReservedClass(name string) bool { return strings.HasPrefix(name, systemClasses) }

// runtimeClass is priority for the runtime class and its overhead.
func (c *translation) runtimeClass(spec *corev1.PodSpec) {
	name := func(s *corev1.PodSpec) string { return ptr.Deref(s.RuntimeClassName, "") }
	if c.passes("runtimeClassName", spec, name, c.in.HostClasses.Runtime) {
		replace(c.overlay, "overhead"+ofHost, &spec.Overhead, nil)
		return
	}
	drop(c.overlay, "runtimeClassName", &spec.RuntimeClassName)
	drop(c.overlay, "overhead", &spec.Overhead)
}

func (c *restoration) runtimeClass(spec *corev1.PodSpec) {
	unreplace(c.overlay, "overhead"+ofHost, &spec.Overhead)
	undrop(c.overlay, "overhead", &spec.Overhead)
	undrop(c.overlay, "runtimeClassName", &spec.RuntimeClassName)
}

// passes reports whether the host pod has the class of a field. It is decided
// when the pod is created; later, the pod on the host shows the decision.
func (c *translation) passes(field string, spec *corev1.PodSpec, name func(*corev1.PodSpec) string, onHost string) bool {
	class := name(spec)
	if class == "" || ReservedClass(class) {
		return false
	}
	if host, ok := c.in.Host.(*corev1.Pod); ok {
		_, dropped := c.prior.Records[field]
		return !dropped && name(&host.Spec) == class
	}
	return class == onHost
}
