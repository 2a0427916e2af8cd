// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const allNodes = "sync: {nodes: {enabled: true, syncAllNodes: true, clearImageStatus: true}}"

func TestRealNodes(t *testing.T) {
	t.Parallel()
	c := private(t, "real", "real-nodes", allNodes)
	k, host := c.namespaceOf(t), admin(t, "")
	nodes := host.names("nodes")
	for _, n := range nodes {
		k.run("wait", "--for=create", "--for=condition=Ready", "node/"+n, "--timeout", patience.String())
	}
	t.Run("are as on the host", func(t *testing.T) { realNodesAreTheHosts(k.with(t), host.with(t), nodes) })
	t.Run("carry daemon sets", func(t *testing.T) { daemonSetCovers(k.with(t), nodes) })
	t.Run("are drained", func(t *testing.T) { nodeIsDrained(k.with(t), nodes[0]) })
	t.Run("stay", func(t *testing.T) {
		k := k.with(t)
		if out := k.refused("delete", "node", nodes[0]); !strings.Contains(out, "the node is the host's") {
			t.Errorf("delete: %s", out)
		}
	})
	t.Run("keep what the tenant adds", func(t *testing.T) { tenantsPartSurvives(k.with(t), host.with(t), nodes[0]) })
	t.Run("do not follow heartbeats", func(t *testing.T) { heartbeatsAreNotWritten(k.with(t), host.with(t), nodes[0]) })
	t.Run("have metrics", func(t *testing.T) {
		k := k.with(t)
		eventually(t, "kubectl top node", func() (bool, string) {
			r := k.try("", "top", "node", "--no-headers")
			return r.err == nil && len(strings.Split(r.stdout, "\n")) == len(nodes) && !strings.Contains(r.stdout, "unknown"), r.String()
		})
	})
	t.Run("have no kubelet for tenants", func(t *testing.T) {
		k := k.with(t)
		for _, id := range []string{nodes[0], nodes[0] + ":10250", nodes[0] + ":10255"} {
			k.refused("get", "--raw", "/api/v1/nodes/"+id+"/proxy/pods")
		}
	})
}

func realNodesAreTheHosts(k, host kubectl, nodes []string) {
	if got := k.names("nodes"); !slices.Equal(got, nodes) {
		k.t.Errorf("nodes %v, want %v", got, nodes)
	}
	const shown = "{.status.addresses} {.status.capacity} {.status.allocatable} {.status.nodeInfo} {.status.daemonEndpoints} {.spec.podCIDRs} {.metadata.labels}"
	for _, n := range nodes {
		if v, h := k.field("node/"+n, shown), host.field("node/"+n, shown); v != h {
			k.t.Errorf("node %s is\n%s\non the host\n%s", n, v, h)
		}
		if got := k.field("node/"+n, "{.status.images}"); got != "" {
			k.t.Errorf("images are shown: %s", got)
		}
		if out := k.run("describe", "node", n); !strings.Contains(out, "KubeletReady") {
			k.t.Errorf("kubectl describe node:\n%s", out)
		}
	}
}

func daemonSetCovers(k kubectl, nodes []string) {
	k.apply("everywhere.yaml")
	k.rolledOut("daemonset/everywhere")
	on := strings.Fields(k.run("get", "pods", "-l", "app=everywhere", "-o", "jsonpath={.items[*].spec.nodeName}"))
	slices.Sort(on)
	if !slices.Equal(on, nodes) {
		k.t.Errorf("pods are on %v, want one on each of %v", on, nodes)
	}
}

func nodeIsDrained(k kubectl, node string) {
	k.rolledOut("deployment/drained")
	// Every pod that was there before is evicted.
	before := k.names("pods", "-l", "app=drained", "--field-selector", "spec.nodeName="+node)
	k.run("drain", node, "--ignore-daemonsets", "--timeout", patience.String())
	for _, pod := range before {
		k.refused("get", "pod", pod)
	}
	if got := k.field("node/"+node, "{.spec.unschedulable}"); got != "true" {
		k.t.Errorf("unschedulable is %q", got)
	}
	if got := admin(k.t, "").field("node/"+node, "{.spec.unschedulable}"); got != "" {
		k.t.Errorf("the host's node is cordoned: %q", got)
	}
	k.run("uncordon", node)
	k.run("delete", "deployment/drained")
}

// mark is a change of a host node that a virtual cluster sees, and that does no
// harm.
func mark(host kubectl, node, value string) {
	host.t.Helper()
	host.run("annotate", "node", node, markKey()+"="+value, "--overwrite")
	afterwards(host.t, "annotate", "node", node, markKey()+"-")
}

func markKey() string { return "e2e.example.com/mark-" + strconv.Itoa(os.Getpid()) }

func markOf() string {
	return `{.metadata.annotations.` + strings.ReplaceAll(markKey(), ".", `\.`) + `}`
}

func tenantsPartSurvives(k, host kubectl, node string) {
	k.run("label", "node", node, "tenant=yes")
	k.run("taint", "node", node, "tenant=yes:NoSchedule")
	mark(host, node, "tenant")
	eventually(k.t, "the host's change", func() (bool, string) {
		got := k.field("node/"+node, markOf())
		return got == "tenant", got
	})
	const parts = "{.metadata.labels.tenant} {.spec.taints[*].key}"
	if got := k.field("node/"+node, parts); got != "yes tenant" {
		k.t.Errorf("the tenant's label and taint are %q", got)
	}
	if got := host.field("node/"+node, parts); strings.Contains(got, "yes") || strings.Contains(got, "tenant") {
		k.t.Errorf("the host has them: %q", got)
	}
	podIsNotPlacedByTheTenantsLabel(k)
	k.run("taint", "node", node, "tenant-")
	// A label of the host's is the host's.
	if out := k.refused("label", "node", node, "kubernetes.io/os=other", "--overwrite"); !strings.Contains(out, "label kubernetes.io/os cannot be changed") {
		k.t.Errorf("label: %s", out)
	}
}

// podIsNotPlacedByTheTenantsLabel: the host schedules, and does not know the
// label. The tenant reads why its pod waits.
func podIsNotPlacedByTheTenantsLabel(k kubectl) {
	k.apply("picky.yaml")
	k.waitFor(`jsonpath={.status.conditions[?(@.type=="PodScheduled")].reason}=Unschedulable`, "pod/picky")
	const want = "didn't match Pod's node affinity/selector"
	if got := k.field("pod/picky", `{.status.conditions[?(@.type=="PodScheduled")].message}`); !strings.Contains(got, want) {
		k.t.Errorf("the condition says %q", got)
	}
	eventually(k.t, "event FailedScheduling", func() (bool, string) {
		got := k.run("get", "events", "--field-selector=involvedObject.name=picky,reason=FailedScheduling", "-o", "jsonpath={.items[*].message}")
		return strings.Contains(got, want), got
	})
	k.run("delete", "pod/picky")
}

// heartbeatsAreNotWritten changes the host's node as a kubelet does, and then
// in another way: the first change of the virtual node must be the latter.
func heartbeatsAreNotWritten(k, host kubectl, node string) {
	ctx, cancel := context.WithCancel(k.t.Context())
	defer cancel()
	watch := k.command(ctx, "get", "node", node, "--watch", "-o", `jsonpath={.metadata.resourceVersion} `+markOf()+`{"\n"}`)
	out, err := watch.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		k.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		k.t.Fatal("the watch ended")
	}
	first := lines.Text()
	seen := map[string]bool{}
	for i := range 3 {
		host.run("patch", "node", node, "--subresource=status", "--type=strategic", "-p",
			fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","lastHeartbeatTime":"2026-01-01T00:00:0%dZ"}]}}`, i))
		seen[host.field("node/"+node, "{.metadata.resourceVersion}")] = true
	}
	if len(seen) != 3 {
		k.t.Fatalf("the host's node has not changed three times: %v", seen)
	}
	mark(host, node, "after")
	if !lines.Scan() {
		k.t.Fatal("the watch ended")
	}
	if !strings.HasSuffix(lines.Text(), " after") {
		k.t.Errorf("the node was %q, and after heartbeats of the host %q", first, lines.Text())
	}
	cancel()
	_ = watch.Wait() // It was killed.
}

func TestNodesWithoutRightsAreRefusedWithAHint(t *testing.T) {
	t.Parallel()
	dir, namespace := t.TempDir(), hostNamespace("no-rights")
	newHostNamespace(t, namespace, filepath.Join(dir, "host.kubeconfig"))
	afterwards(t, "delete", "namespace", namespace)
	if err := writeConfig(dir, "norights", namespace, "127.0.0.1:1", hostDNS(t), allNodes); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), lab.porticod, "serve", "--config", filepath.Join(dir, "portico.yaml"), "--listen", "127.0.0.1:0").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "error: sync.nodes") || !strings.Contains(string(out), "hint: porticod needs the ClusterRole") {
		t.Errorf("porticod: %v\n%s", err, out)
	}
}

func TestPodsAreMeasuredAndScaled(t *testing.T) {
	t.Parallel()
	k, _ := shared(t)
	k.apply("busy.yaml")
	eventually(t, "kubectl top pod", func() (bool, string) {
		r := k.try("", "top", "pod", "--no-headers")
		return r.err == nil && strings.HasPrefix(r.stdout, "busy-"), r.String()
	})
	eventuallyWithin(t, 2*patience, "a second replica", func() (bool, string) {
		got := k.field("deployment/busy", "{.status.replicas}")
		return got == "2", got + "\n" + k.run("describe", "hpa", "busy")
	})
	for _, row := range strings.Split(k.run("get", "pods.metrics.k8s.io", "--no-headers", "-l", "app=busy"), "\n") {
		if !strings.HasPrefix(row, "busy-") || strings.Contains(row, "-x-") {
			t.Errorf("row %q", row)
		}
	}
	if got := k.run("get", "nodes.metrics.k8s.io", "-o", "name"); got != "" {
		t.Errorf("made-up nodes have metrics: %s", got)
	}
}

func TestVolumeOfABoundClaimIsShown(t *testing.T) {
	t.Parallel()
	c := private(t, "volumes", "volumes")
	grantOnHost(t, c.namespace, "get", "persistentvolumes")
	k := c.namespaceOf(t)
	k.apply("claim.yaml", "writer.yaml")
	k.waitFor("jsonpath={.status.phase}=Bound", "pvc/data")
	volume := k.field("pvc/data", "{.spec.volumeName}")
	eventually(t, "a bound volume", func() (bool, string) {
		r := k.try("", "get", "pv", volume, "-o", "jsonpath={.status.phase} {.spec.claimRef.namespace}/{.spec.claimRef.name} {.spec.claimRef.uid}")
		return r.stdout == "Bound "+k.namespace+"/data "+k.field("pvc/data", "{.metadata.uid}"), r.String()
	})
	if out := k.run("describe", "pvc", "data"); !strings.Contains(out, volume) {
		t.Errorf("kubectl describe pvc:\n%s", out)
	}
	k.waitFor("jsonpath={.status.phase}=Succeeded", "pod/writer")
	// It does not seem to be kept, and then go.
	if out := k.refused("patch", "pv", volume, "-p", `{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}`); !strings.Contains(out, "ask the operator") {
		t.Errorf("the policy of a volume: %s", out)
	}
	k.run("delete", "pod/writer", "pvc/data", "--timeout", patience.String())
	k.waitFor("delete", "pv/"+volume)
}
