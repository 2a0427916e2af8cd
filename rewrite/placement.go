// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// placement removes, on the host, fields that name objects which are not there
// or that a tenant may not choose, and enforces the cluster's own node selector
// and tolerations.
func (c *translation) placement(spec *corev1.PodSpec) {
	c.priority(spec)
	c.runtimeClass(spec)
	// Both name objects of the tenant's that no controller of the host knows.
	drop(c.overlay, "schedulingGroup", &spec.SchedulingGroup)
	drop(c.overlay, "evictionResponders", &spec.EvictionResponders)

	c.scheduler(spec)
	c.nodeSelector(spec)
	c.tolerations(spec)
}

func (c *restoration) placement(spec *corev1.PodSpec) {
	c.tolerations(spec)
	c.nodeSelector(spec)
	unreplace(c.overlay, "schedulerName", &spec.SchedulerName)
	undrop(c.overlay, "evictionResponders", &spec.EvictionResponders)
	undrop(c.overlay, "schedulingGroup", &spec.SchedulingGroup)
	c.runtimeClass(spec)
	c.priority(spec)
}

// NoScheduler is the scheduler of a host pod that no scheduler of the host may
// place. A scheduler's name is not checked by the API, and no program has one
// with this prefix.
const NoScheduler = Prefix + "virtual"

// scheduler leaves a pod to a scheduler of the host only if the operator allows
// it. Any other name is that of a program of the tenant's, which the host does
// not have, even if it happens to have one of that name: the pod waits.
func (c *translation) scheduler(spec *corev1.PodSpec) {
	name := spec.SchedulerName
	if name == "" || name == corev1.DefaultSchedulerName || slices.Contains(c.t.cluster.Schedulers, name) {
		return
	}
	replace(c.overlay, "schedulerName", &spec.SchedulerName, NoScheduler)
}

// enforcedSelector is the record of an enforced node selector.
type enforcedSelector struct {
	// Host is the written value, and Virtual the tenant's.
	Host    map[string]string `json:"host"`
	Virtual map[string]string `json:"virtual,omitempty"`
}

func (c *translation) nodeSelector(spec *corev1.PodSpec) {
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

func (c *restoration) nodeSelector(spec *corev1.PodSpec) {
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
