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
	c.judged(spec)
	c.nodeSelector(spec)
	c.tolerations(spec)
}

func (c *restoration) placement(spec *corev1.PodSpec) {
	c.tolerations(spec)
	c.nodeSelector(spec)
	c.judged(spec)
	unreplace(c.overlay, schedulerKey, &spec.SchedulerName)
	undrop(c.overlay, "evictionResponders", &spec.EvictionResponders)
	undrop(c.overlay, "schedulingGroup", &spec.SchedulingGroup)
	c.runtimeClass(spec)
	c.priority(spec)
}

// NoScheduler is the scheduler of a host pod that no scheduler of the host may
// place. A scheduler's name is not checked by the API, and no program has one
// with this prefix.
const NoScheduler = Prefix + "virtual"

// HostScheduler is the name by which a pod is left to the host's scheduler, in a
// cluster whose own scheduler places all others (Cluster.SchedulesInside).
const HostScheduler = "host.portico.dev"

// scheduler leaves a pod to a scheduler of the host only if the operator allows
// it. Any other name is that of a program of the tenant's, which the host does
// not have, even if it happens to have one of that name: the pod waits, for a
// binding that comes through the door or for ever.
func (c *translation) scheduler(spec *corev1.PodSpec) {
	name, inside := spec.SchedulerName, c.t.cluster.SchedulesInside
	switch isDefault := name == "" || name == corev1.DefaultSchedulerName; {
	case isDefault && !inside:
	case isDefault && c.t.leftToHost(spec):
	case !isDefault && slices.Contains(c.t.cluster.Schedulers, name):
	case inside && name == HostScheduler:
		replace(c.overlay, schedulerKey, &spec.SchedulerName, corev1.DefaultSchedulerName)
	default:
		replace(c.overlay, schedulerKey, &spec.SchedulerName, NoScheduler)
	}
}

// placedInside reports whether a scheduler of the virtual cluster chooses the
// node of a pod, given its spec on the host. A pod never changes sides.
func (c *translation) placedInside(spec *corev1.PodSpec) bool {
	if host, ok := c.in.Host.(*corev1.Pod); ok {
		spec = &host.Spec
	}
	return c.t.cluster.SchedulesInside && spec.SchedulerName == NoScheduler
}

// LeftToHost reports whether the host's scheduler places a pod that names the one
// inside: devices are allocated where they are known.
func (t *Translator) LeftToHost(v *corev1.Pod) bool { return t.leftToHost(&v.Spec) }

func (t *Translator) leftToHost(spec *corev1.PodSpec) bool {
	return t.cluster.ResourceClaims && len(spec.ResourceClaims) > 0
}

// HostTolerations returns the tolerations of a virtual pod that a new host pod of
// it has.
func (t *Translator) HostTolerations(v *corev1.Pod) []corev1.Toleration {
	c, spec := t.begin("Pod", v, Inputs{}), corev1.PodSpec{Tolerations: slices.Clone(v.Spec.Tolerations)}
	c.tolerations(&spec)
	return spec.Tolerations
}

// judged keeps off the host the terms over labels of nodes that were for a
// scheduler inside. It judges them by the labels of virtual nodes, of which the
// host's may have fewer, and a kubelet would judge again by those and refuse the
// pod. The enforced selector, which comes later, is the host's to judge.
func (c *translation) judged(spec *corev1.PodSpec) {
	if !c.placedInside(spec) {
		return
	}
	drop(c.overlay, ownSelector, &spec.NodeSelector)
	if spec.Affinity != nil {
		drop(c.overlay, nodeAffinityKey, &spec.Affinity.NodeAffinity)
	}
}

func (c *restoration) judged(spec *corev1.PodSpec) {
	undrop(c.overlay, ownSelector, &spec.NodeSelector)
	if spec.Affinity != nil {
		undrop(c.overlay, nodeAffinityKey, &spec.Affinity.NodeAffinity)
	}
}

// The records of a pod's placement, besides those of single passes.
const (
	schedulerKey    = "schedulerName"
	enforcedKey     = "nodeSelector"
	ownSelector     = "nodeSelector.own"
	nodeAffinityKey = "affinity.nodeAffinity"
)

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
		c.overlay.put(enforcedKey, record)
	}
}

func (c *restoration) nodeSelector(spec *corev1.PodSpec) {
	var record enforcedSelector
	if !c.overlay.get(enforcedKey, &record) {
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
