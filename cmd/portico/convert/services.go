// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// servicesFromHost takes the mappings of which both ends have a namespace.
func servicesFromHost(c *conversion, r row, v any) error {
	return mappings(c, r, v, func(from, to string) (string, string) {
		switch {
		case !namespaced(from):
			return to, "The namespace of the host has to be written: from: NAMESPACE/NAME."
		case !namespaced(to):
			return to, "The namespace inside has to be written: to: NAMESPACE/NAME."
		}
		return to, ""
	})
}

// servicesFromVirtual takes the mappings into the cluster's own host namespace.
func servicesFromVirtual(c *conversion, r row, v any) error {
	return mappings(c, r, v, func(from, to string) (string, string) {
		switch {
		case !namespaced(from):
			return to, "The namespace inside has to be written: from: NAMESPACE/NAME."
		case strings.Contains(to, "/"):
			return to, "A Service is mapped into the cluster's own host namespace only, so to is a name without namespace."
		}
		return to, ""
	})
}

// mappings moves the entries of a list that judge finds no fault with.
func mappings(c *conversion, r row, v any, judge func(from, to string) (string, string)) error {
	var taken []any
	for i, entry := range v.([]any) {
		at := fmt.Sprintf("%s[%d]", r.path, i)
		m, ok := entry.(map[string]any)
		if !ok {
			return &ValueError{Path: at, Why: "must be a map with from and to"}
		}
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if key != "from" && key != "to" {
				return &ValueError{Path: at + "." + key, Why: "no such key; a mapping has from and to"}
			}
		}
		from, isFrom := m["from"].(string)
		to, isTo := m["to"].(string)
		if !isFrom || !isTo {
			return &ValueError{Path: at, Why: "must have the texts from and to"}
		}
		to, why := judge(from, to)
		if why == "" && strings.Contains(from+to, "*") {
			why = "Services are mapped one by one: there are no wildcards."
		}
		if why != "" {
			c.missing(at, why)
			continue
		}
		taken = append(taken, map[string]any{"from": from, "to": to})
	}
	if len(taken) == 0 {
		return nil
	}
	return c.put(r, r.to, taken)
}

func namespaced(name string) bool {
	namespace, rest, ok := strings.Cut(name, "/")
	return ok && namespace != "" && rest != "" && !strings.Contains(rest, "/")
}

// serviceSpec takes the keys of the Service's spec that the chart has.
func serviceSpec(c *conversion, r row, v any) error {
	return fields(c, r, v, "The Service's spec is the chart's but for some keys.", map[string]string{
		"type": "type", "loadBalancerIP": "loadBalancerIP", "externalTrafficPolicy": "externalTrafficPolicy",
		"loadBalancerSourceRanges": "loadBalancerSourceRanges",
	})
}

// ingressSpec takes the keys of the Ingress' spec that the chart has.
func ingressSpec(c *conversion, r row, v any) error {
	r.to = "controlPlane.ingress"
	return fields(c, r, v, throughIngress, map[string]string{"ingressClassName": "className"})
}

// fields moves the keys of a map that have a counterpart below r.to.
func fields(c *conversion, r row, v any, why string, known map[string]string) error {
	m := v.(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(m)) {
		var below row
		if to, has := known[key]; has {
			below = move(r.path+"."+key, r.to+"."+to, anything, "")
		} else {
			below = none(r.path+"."+key, why)
		}
		if err := below.apply(c, m[key]); err != nil {
			return err
		}
	}
	return nil
}
