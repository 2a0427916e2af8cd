// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package occupancy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	fwk "k8s.io/kube-scheduler/framework"
)

// Fits returns why a pod, as the host has it, has no room on a node now, as an
// error whose text names nothing of others.
//
// Pods of the cluster's own that are about to go do not count: a scheduler inside
// binds when it has seen them go, which may be a moment before this package does.
// A binding that comes too early is the kubelet's to refuse, as in every cluster.
func (r *Room) Fits(node *corev1.Node, pod *corev1.Pod) error {
	for _, synced := range r.synced {
		if !synced() {
			return fmt.Errorf("the pods on node %q are not known yet", node.Name)
		}
	}
	if wait := r.refused.remaining(node.Name); wait > 0 {
		return fmt.Errorf("node %q has refused a pod of this cluster a moment ago, and gets the next in %s", node.Name, wait.Round(time.Second))
	}
	there := r.on(node.Name, func(o *corev1.Pod) bool { return o.UID != pod.UID && (o.DeletionTimestamp == nil || !r.own(o)) })
	taken := sum(there)
	var missing []string
	for name, q := range requests(pod) {
		has, known := node.Status.Allocatable[name]
		if q.IsZero() || !known && extended(name) {
			continue
		}
		if has.Sub(taken[name]); has.Cmp(q) < 0 {
			missing = append(missing, string(name))
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("node %q has not enough room: %s", node.Name, strings.Join(missing, ", "))
	}
	if port, taken := collision(ports(pod), there); taken {
		return fmt.Errorf("port %d/%s of node %q is taken", port.HostPort, protocolOf(port), node.Name)
	}
	return nil
}

// Refuses returns a function that says why a node would refuse a pod, in words
// that follow "node(s)", or "" if it would not. It is for reasons that no virtual
// Node shows.
func (r *Room) Refuses(pod *corev1.Pod) func(node string) string {
	wanted := ports(pod)
	return func(node string) string {
		if r.refused.remaining(node) > 0 {
			return "had refused a pod of this cluster a moment ago"
		}
		if len(wanted) == 0 {
			return ""
		}
		if _, taken := collision(wanted, r.on(node, func(o *corev1.Pod) bool { return !r.own(o) })); taken {
			return "didn't have free ports on the host"
		}
		return ""
	}
}

// collision returns the first wanted port that one of the pods has.
func collision(wanted []corev1.ContainerPort, pods []*corev1.Pod) (corev1.ContainerPort, bool) {
	taken := fwk.HostPortInfo{}
	for _, pod := range pods {
		for _, p := range ports(pod) {
			taken.Add(p.HostIP, string(p.Protocol), p.HostPort)
		}
	}
	i := slices.IndexFunc(wanted, func(p corev1.ContainerPort) bool {
		return taken.CheckConflict(p.HostIP, string(p.Protocol), p.HostPort)
	})
	if i < 0 {
		return corev1.ContainerPort{}, false
	}
	return wanted[i], true
}

// extended reports whether a resource is one that a kubelet ignores in a pod if
// its node does not have it. A tenant may have given it to the virtual node.
func extended(name corev1.ResourceName) bool {
	domain, _, qualified := strings.Cut(string(name), "/")
	return qualified && domain != "kubernetes.io" && !strings.HasSuffix(domain, ".kubernetes.io")
}

// ports are the ports of its node that a pod has for as long as it runs.
func ports(pod *corev1.Pod) []corev1.ContainerPort {
	var all []corev1.ContainerPort
	add := func(c *corev1.Container) {
		for i := range c.Ports {
			if c.Ports[i].HostPort > 0 {
				all = append(all, corev1.ContainerPort{HostPort: c.Ports[i].HostPort, HostIP: c.Ports[i].HostIP, Protocol: c.Ports[i].Protocol})
			}
		}
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			add(c)
		}
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i])
	}
	return all
}

func protocolOf(p corev1.ContainerPort) corev1.Protocol {
	if p.Protocol == "" {
		return corev1.ProtocolTCP
	}
	return p.Protocol
}

// sameRoom reports whether two states of a reduced pod take the same room.
func sameRoom(a, b *corev1.Pod) bool { return equality.Semantic.DeepEqual(&a.Spec, &b.Spec) }
