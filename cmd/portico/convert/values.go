// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// either switches something on that more than one key can switch on.
func either(c *conversion, r row, v any) error {
	on := v == true || lookup(c.result.Values, r.to) == true
	delete(c.origin, r.to)
	return c.put(r, r.to, on)
}

// highest takes the largest of the numbers that several keys have.
func highest(c *conversion, r row, v any) error {
	if n, ok := lookup(c.result.Values, r.to).(int64); ok {
		if m, ok := v.(int64); !ok || m < n {
			v = n
		}
	}
	delete(c.origin, r.to)
	return c.put(r, r.to, v)
}

func negated(c *conversion, r row, v any) error { return c.put(r, r.to, v != true) }

// unlessZero moves a number of which zero means none.
func unlessZero(c *conversion, r row, v any) error {
	if asksNothing(v) {
		c.needless(r.path)
		return nil
	}
	return c.put(r, r.to, v)
}

// ifOn is for a section that means nothing without its switch.
func ifOn(c *conversion, r row, v any) error {
	if m, ok := v.(map[string]any); !ok || !isTrue(m["enabled"]) {
		c.needless(r.path)
		return nil
	}
	c.missing(r.path, r.note)
	return nil
}

// automaticSwitch moves a switch that may also be "auto".
func automaticSwitch(c *conversion, r row, v any) error {
	switch v {
	case "auto":
		c.needless(r.path)
		return nil
	case true, "true":
		return c.put(r, r.to, true)
	case false, "false":
		return c.put(r, r.to, false)
	}
	return &ValueError{Path: r.path, Why: "must be true, false or auto"}
}

func retention(c *conversion, r row, v any) error {
	switch v {
	case "Retain":
		return c.put(r, r.to, true)
	case "Delete":
		return c.put(r, r.to, false)
	}
	return &ValueError{Path: r.path, Why: "must be Retain or Delete"}
}

// fullNames is for vcluster's switch of the names in /etc/hosts.
func fullNames(c *conversion, r row, v any) error {
	if v == true {
		c.needless(r.path)
		return nil
	}
	return c.put(r, r.to, "")
}

// secretNames makes a list of names of one of references.
func secretNames(c *conversion, r row, v any) error {
	var names []any
	for i, ref := range v.([]any) {
		name, _ := lookup(map[string]any{"ref": ref}, "ref.name").(string)
		if name == "" {
			return &ValueError{Path: fmt.Sprintf("%s[%d]", r.path, i), Why: "must be a map with a name"}
		}
		names = append(names, name)
	}
	return c.put(r, r.to, names)
}

// etcdReplicas also switches etcd on: the old chart for k8s always had one.
func etcdReplicas(c *conversion, r row, v any) error {
	if c.on("etcd.disabled") {
		c.needless(r.path)
		return nil
	}
	delete(c.origin, "controlPlane.etcd.enabled")
	if err := c.set(r.path, "controlPlane.etcd.enabled", true); err != nil {
		return err
	}
	return c.put(r, r.to, v)
}

// dnsReplicas asks for pods if there is to be more than one.
func dnsReplicas(c *conversion, r row, v any) error {
	if v == int64(1) || v == int64(0) || c.on("controlPlane.coredns.embedded") || c.on("coredns.integrated") {
		c.needless(r.path)
		return nil
	}
	return dnsImage(c, r, v)
}

// dnsImage asks for pods.
func dnsImage(c *conversion, r row, v any) error {
	if err := c.set(r.path, "coredns.mode", "deployment"); err != nil {
		return err
	}
	return c.put(r, r.to, v)
}

// sleepsAfter has pods answer the DNS, which porticod does not do in its sleep.
func sleepsAfter(c *conversion, r row, v any) error {
	after, err := time.ParseDuration(fmt.Sprint(v))
	switch {
	case err != nil:
		return &ValueError{Path: r.path, Why: "must be a duration, such as 30m"}
	case after == 0:
		c.needless(r.path)
		return nil
	case after < time.Minute:
		return &ValueError{Path: r.path, Why: "is less than a minute, in which a cluster hardly wakes"}
	}
	return dnsImage(c, r, v)
}

// excluded asks for a sleep of workloads, which some pods are excluded from.
func excluded(c *conversion, r row, v any) error {
	if len(v.(map[string]any)) == 0 {
		c.needless(r.path)
		return nil
	}
	if err := c.set(r.path, "sleep.scope", "workloads"); err != nil {
		return err
	}
	return c.put(r, r.to, map[string]any{"matchLabels": v})
}

// allNodes leaves the choice to labels, where there are some.
func allNodes(c *conversion, r row, v any) error {
	if labels, _ := c.at("sync.fromHost.nodes.selector.labels").(map[string]any); len(labels) > 0 {
		c.needless(r.path)
		return nil
	}
	return either(c, r, v)
}

// scheduler also shows all nodes, unless labels choose some.
func scheduler(c *conversion, r row, v any) error {
	if v != true {
		return either(c, r, v)
	}
	labels, _ := c.at("sync.fromHost.nodes.selector.labels").(map[string]any)
	selector, _ := c.at("sync.nodes.nodeSelector").(string)
	if selector == "" && (len(labels) == 0 || !c.on("sync.fromHost.nodes.enabled")) {
		const all = "sync.nodes.syncAllNodes"
		delete(c.origin, all)
		if err := c.set(r.path, all, true); err != nil {
			return err
		}
	}
	return either(c, r, v)
}

// nodeLabels writes a selector as labels, a=b,c=d.
func nodeLabels(c *conversion, r row, v any) error {
	var labels []string
	for _, key := range slices.Sorted(maps.Keys(v.(map[string]any))) {
		value, ok := v.(map[string]any)[key].(string)
		if !ok {
			return &ValueError{Path: r.path, Why: fmt.Sprintf("the value of the label %s must be a text", key)}
		}
		labels = append(labels, key+"="+value)
	}
	return c.put(r, r.to, strings.Join(labels, ","))
}

// serverName takes the name out of an address.
func serverName(c *conversion, r row, v any) error {
	u, err := url.Parse(v.(string))
	if err != nil || u.Hostname() == "" {
		return &ValueError{Path: r.path, Why: "must be the address of a server, https://NAME:PORT"}
	}
	return c.put(r, r.to, []any{u.Hostname()})
}
