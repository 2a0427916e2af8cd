// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"
)

// One pod with every kind of container, probe and hook, from its first
// readiness to its graceful end, as its Services follow it.
func TestContainersOfEveryKind(t *testing.T) {
	t.Parallel()
	k, c := shared(t)
	k.apply("containers.yaml")
	k.waitFor("condition=ContainersReady", "pod/many")

	conditions := func(service, want string) {
		t.Helper()
		eventually(t, "endpoint of "+service, func() (bool, string) {
			got := k.run("get", "endpointslices", "-l", "kubernetes.io/service-name="+service, "-o",
				"jsonpath={range .items[*].endpoints[*]}{.conditions.ready} {.conditions.serving} {.conditions.terminating} {.targetRef.name}{end}:{.items[*].ports[*].port}")
			return got == want, got
		})
	}
	inside := func(script string) string {
		t.Helper()
		return k.run("exec", "many", "-c", "web", "--", "sh", "-c", script)
	}

	// Only the tenant knows whether their gate is open.
	conditions("many", "false false false many:8080")
	conditions("early", "true false false many:8080")
	k.run("patch", "pod/many", "--subresource=status", "-p", `{"status":{"conditions":[{"type":"example.com/approved","status":"True"}]}}`)
	k.waitFor("condition=Ready", "pod/many")
	conditions("many", "true true false many:8080")

	if got := inside("cat /shared/order"); got != "first\nstarted" {
		t.Errorf("order of the containers and hooks: %q", got)
	}
	if got := k.field("pod/many", "{.status.initContainerStatuses[?(@.name==\"first\")].state.terminated.message}"); got != "the end of first" {
		t.Errorf("termination message: %q", got)
	}
	// The kubelet writes options in any order.
	words := strings.Fields(inside("cat /etc/resolv.conf"))
	slices.Sort(words)
	if got := strings.Join(words, " "); got != "192.0.2.1 edns0 nameserver ndots:3 options search tenant.example" {
		t.Errorf("words of resolv.conf: %s", got)
	}
	if got := inside("grep somewhere /etc/hosts"); got != "192.0.2.9\tsomewhere.example" {
		t.Errorf("host aliases: %q", got)
	}

	t.Run("are debugged", func(t *testing.T) { podIsDebugged(k.with(t)) })
	t.Run("are resized", func(t *testing.T) {
		k := k.with(t)
		k.run("patch", "pod/many", "--subresource=resize", "-p", `{"spec":{"containers":[{"name":"shell","resources":{"requests":{"cpu":"20m"},"limits":{"cpu":"200m"}}}]}}`)
		k.waitFor(`jsonpath={.status.containerStatuses[?(@.name=="shell")].resources.limits.cpu}=200m`, "pod/many")
		// The true node decides, not the one that is shown.
		const tooMuch = `{"spec":{"containers":[{"name":"shell","resources":{"requests":{"cpu":"100k"},"limits":{"cpu":"100k"}}}]}}`
		if out := k.refused("patch", "pod/many", "--subresource=resize", "-p", tooMuch); !strings.Contains(out, `pods "many" is forbidden: node didn't have enough allocatable resources`) {
			t.Errorf("more than a node has: %s", out)
		}
	})

	k.run("delete", "pod/many", "--wait=false")
	conditions("many", "false true true many:8080")
	eventually(t, "preStop hook", func() (bool, string) {
		got := inside("cat /shared/order")
		return got == "first\nstarted\nstopped many", got
	})
	c.saysNothingOfTheHost(t, "kubectl describe", k.run("describe", "pod/many"))
	c.saysNothingOfTheHost(t, "kubectl get", k.run("get", "pods,services,endpointslices,events", "-o", "yaml"))
	inside("touch /shared/released")
	k.waitFor("delete", "pod/many")
	conditions("many", ":")
}

func podIsDebugged(k kubectl) {
	const image = "--image=docker.io/library/busybox:1.37"
	k.run("debug", "many", "--target=shell", image, "--profile=general", "-c", "debugger", "--", "sh", "-c", "ps; hostname")
	k.waitFor("jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.reason}=Completed", "pod/many")
	if got := k.run("logs", "many", "-c", "debugger"); !strings.Contains(got, "sleep infinity") || !strings.HasSuffix(got, "\nmany") {
		k.t.Errorf("the debugger does not see its target: %s", got)
	}
	k.run("debug", "many", "--copy-to=copy", "--set-image=web=registry.k8s.io/pause:3.10.1", image, "-c", "debugger", "--", "true")
	if got := k.field("pod/copy", "{.spec.containers[*].name}"); got != "web shell debugger" {
		k.t.Errorf("containers of the copy: %s", got)
	}
	k.run("delete", "pod/copy", "--now", "--wait=false")
}
