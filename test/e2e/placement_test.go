// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"
)

// The host's scheduler knows one namespace. It places pods by those of other
// virtual namespaces, named or chosen by labels, which may change.
func TestPodsArePlacedByOtherNamespaces(t *testing.T) {
	t.Parallel()
	k, _ := shared(t)
	other := k
	other.namespace = k.namespace + "-2"
	k.run("create", "namespace", other.namespace)
	eventually(t, "default service account", func() (bool, string) {
		r := other.try("", "get", "serviceaccount", "default")
		return r.err == nil, r.String()
	})
	k.apply("placed.yaml")
	k.waitFor("condition=Ready", "pod/anchor")
	other.applyWith("placing.yaml", "NAMESPACE", k.namespace)
	other.waitFor("condition=Ready", "pod/near", "pod/far")
	anchor := k.field("pod/anchor", "{.spec.nodeName}")
	if near, far := other.field("pod/near", "{.spec.nodeName}"), other.field("pod/far", "{.spec.nodeName}"); near != anchor || far == anchor {
		t.Errorf("the anchor is on %s, its friend on %s, its enemy on %s", anchor, near, far)
	}

	other.waitFor(`jsonpath={.status.conditions[?(@.type=="PodScheduled")].reason}=Unschedulable`, "pod/later")
	k.run("label", "namespace", k.namespace, "color-of="+k.namespace)
	other.waitFor("condition=Ready", "pod/later")
	if later := other.field("pod/later", "{.spec.nodeName}"); later != anchor {
		t.Errorf("the anchor is on %s, who waited for its namespace's label on %s", anchor, later)
	}

	k.rolledOut("deployment/spread")
	nodes := strings.Fields(k.run("get", "pods", "-l", "app=spread", "-o", "jsonpath={.items[*].spec.nodeName}"))
	slices.Sort(nodes)
	if len(nodes) != 4 || nodes[0] != nodes[1] || nodes[2] != nodes[3] || nodes[1] == nodes[2] {
		t.Errorf("pods are spread over %v, want two and two", nodes)
	}
}
