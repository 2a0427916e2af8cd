// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
)

// placement takes off the host what names objects that are not there, and
// enforces the cluster's own node selector and tolerations.
func (c *toHost) placement(spec *corev1.PodSpec) {
	c.priority(spec)
	c.runtimeClass(spec)
	// Both are objects of the tenant's that no controller of the host knows.
	drop(c.overlay, "schedulingGroup", &spec.SchedulingGroup)
	drop(c.overlay, "evictionResponders", &spec.EvictionResponders)

	c.nodeSelector(spec)
	c.tolerations(spec)
}

func (c *toVirtual) placement(spec *corev1.PodSpec) {
	c.tolerations(spec)
	c.nodeSelector(spec)
	undrop(c.overlay, "evictionResponders", &spec.EvictionResponders)
	undrop(c.overlay, "schedulingGroup", &spec.SchedulingGroup)
	c.runtimeClass(spec)
	c.priority(spec)
}

// enforcedSelector is the record of an enforced node selector.
type enforcedSelector struct {
	// Host is what was written, and Virtual what the tenant had instead.
	Host    map[string]string `json:"host"`
	Virtual map[string]string `json:"virtual,omitempty"`
}

func (c *toHost) nodeSelector(spec *corev1.PodSpec) {
	if len(c.t.cluster.NodeSelector) == 0 {
		return
	}
	record := enforcedSelector{Host: map[string]string{}, Virtual: map[string]string{}}
	if spec.NodeSelector == nil {
		spec.NodeSelector = map[string]string{}
	}
	for k, v := range c.t.cluster.NodeSelector {
		own, ok := spec.NodeSelector[k]
		if ok && own == v {
			continue
		}
		if ok {
			record.Virtual[k] = own
		}
		record.Host[k], spec.NodeSelector[k] = v, v
	}
	if len(record.Host) > 0 {
		c.overlay.put("nodeSelector", record)
	}
}

func (c *toVirtual) nodeSelector(spec *corev1.PodSpec) {
	var record enforcedSelector
	if !c.overlay.get("nodeSelector", &record) {
		return
	}
	for k, v := range record.Host {
		if spec.NodeSelector[k] != v {
			continue
		}
		if own, ok := record.Virtual[k]; ok {
			spec.NodeSelector[k] = own
		} else {
			delete(spec.NodeSelector, k)
		}
	}
	spec.NodeSelector = orNilMap(spec.NodeSelector)
}

func (c *toHost) tolerations(spec *corev1.PodSpec) {
	enforced := c.t.cluster.Tolerations
	// A pod's tolerations can be added to, never removed. Those that it got
	// when it was made are its own from then on, whatever the configuration
	// says today.
	if c.in.Host != nil {
		enforced = nil
		c.prior.get("tolerations", &enforced)
	}
	var added []corev1.Toleration
	for i := range enforced {
		if !tolerates(spec.Tolerations, &enforced[i]) {
			added = append(added, *enforced[i].DeepCopy())
		}
	}
	if len(added) > 0 {
		c.overlay.put("tolerations", added)
		spec.Tolerations = append(spec.Tolerations, added...)
	}
}

func (c *toVirtual) tolerations(spec *corev1.PodSpec) {
	var added []corev1.Toleration
	if !c.overlay.get("tolerations", &added) {
		return
	}
	spec.Tolerations = orNilList(slices.DeleteFunc(spec.Tolerations, func(t corev1.Toleration) bool { return tolerates(added, &t) }))
}

// tolerates reports whether a list has exactly this toleration.
func tolerates(list []corev1.Toleration, t *corev1.Toleration) bool {
	return slices.ContainsFunc(list, func(o corev1.Toleration) bool { return apiequality.Semantic.DeepEqual(&o, t) })
}
