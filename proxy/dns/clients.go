// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// clients holds the addresses that may ask: the cluster's own pods, their
// nodes, and the networks of the configuration. Addresses of pods come from the
// host; no tenant can write one.
//
// A question of a host network pod has an address of its node, and so has one
// that a network plugin or kube-proxy passes on for a pod. A node counts while
// a kubelet there has reported one of the cluster's pods: a Node that a tenant
// makes up has no effect.
type clients struct {
	networks []netip.Prefix
	synced   []cache.InformerSynced

	mu      sync.Mutex
	pods    map[netip.Addr]int      // how many pods have an address
	nodes   map[netip.Addr][]string // whose address it is
	running map[string]int          // how many pods a node has
	changed chan struct{}           // closed when another client may ask
}

// newClients registers with the informers, so it must be called before these
// are started.
func newClients(shared informers.SharedInformerFactory, networks []netip.Prefix) (*clients, error) {
	c := &clients{
		networks: networks, changed: make(chan struct{}),
		pods: map[netip.Addr]int{}, nodes: map[netip.Addr][]string{}, running: map[string]int{},
	}
	for _, follow := range []struct {
		informer cache.SharedIndexInformer
		change   func(obj any, by int)
	}{
		{shared.Core().V1().Pods().Informer(), c.countPod},
		{shared.Core().V1().Nodes().Informer(), c.countNode},
	} {
		handle, err := follow.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { c.update(func() { follow.change(obj, 1) }) },
			UpdateFunc: func(before, after any) { c.update(func() { follow.change(after, 1); follow.change(before, -1) }) },
			DeleteFunc: func(obj any) {
				if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
					obj = gone.Obj
				}
				c.update(func() { follow.change(obj, -1) })
			},
		})
		if err != nil {
			return nil, fmt.Errorf("listen to addresses: %w", err)
		}
		c.synced = append(c.synced, handle.HasSynced)
	}
	return c, nil
}

func (c *clients) update(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	close(c.changed)
	c.changed = make(chan struct{})
}

// countPod counts the addresses of a pod, which may belong to another pod as
// soon as it has ended.
func (c *clients) countPod(obj any, by int) {
	pod, ok := obj.(*corev1.Pod)
	if !ok || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return
	}
	for _, ip := range podAddresses(pod) {
		count(c.pods, ip, by)
	}
	if pod.Status.HostIP != "" {
		count(c.running, pod.Spec.NodeName, by)
	}
}

func podAddresses(pod *corev1.Pod) []netip.Addr {
	all := append(parsed(pod.Status.PodIP), parsed(pod.Status.HostIP)...) // an old host has no lists
	for _, ip := range pod.Status.PodIPs {
		all = append(all, parsed(ip.IP)...)
	}
	for _, ip := range pod.Status.HostIPs {
		all = append(all, parsed(ip.IP)...)
	}
	return all
}

func count[K comparable](m map[K]int, key K, by int) {
	if m[key] += by; m[key] <= 0 {
		delete(m, key)
	}
}

func (c *clients) countNode(obj any, by int) {
	node, ok := obj.(*corev1.Node)
	if !ok {
		return
	}
	for _, ip := range nodeAddresses(node) {
		if by > 0 {
			c.nodes[ip] = append(c.nodes[ip], node.Name)
			continue
		}
		if i := slices.Index(c.nodes[ip], node.Name); i >= 0 {
			c.nodes[ip] = slices.Delete(c.nodes[ip], i, i+1)
		}
		if len(c.nodes[ip]) == 0 {
			delete(c.nodes, ip)
		}
	}
}

// nodeAddresses are those that a packet of a node may have: those of its
// status, and the first two of its pod network, which bridges and tunnels have.
func nodeAddresses(node *corev1.Node) []netip.Addr {
	var all []netip.Addr
	for _, a := range node.Status.Addresses {
		all = append(all, parsed(a.Address)...) // some are names
	}
	for _, cidr := range node.Spec.PodCIDRs {
		if p, err := netip.ParsePrefix(cidr); err == nil {
			all = append(all, p.Masked().Addr(), p.Masked().Addr().Next())
		}
	}
	return all
}

func parsed(ip string) []netip.Addr {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return nil
	}
	return []netip.Addr{a.Unmap().WithZone("")}
}

// configured reports whether an address is in a configured network.
func (c *clients) configured(ip netip.Addr) bool {
	return slices.ContainsFunc(c.networks, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// known reports whether an address may ask.
func (c *clients) known(ip netip.Addr) bool {
	if c.configured(ip) {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ofCluster(ip)
}

func (c *clients) ofCluster(ip netip.Addr) bool {
	return c.pods[ip] > 0 || slices.ContainsFunc(c.nodes[ip], func(node string) bool { return c.running[node] > 0 })
}

// wait returns true as soon as an address may ask, and false when ctx ends.
func (c *clients) wait(ctx context.Context, ip netip.Addr) bool {
	for {
		c.mu.Lock()
		known, changed := c.ofCluster(ip), c.changed
		c.mu.Unlock()
		if known {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
