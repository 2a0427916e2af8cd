// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const devicesFromHost = "sync: {fromHost: {deviceClasses: {enabled: true}}, toHost: {resourceClaims: {enabled: true}}}"

// TestPodsHaveDevices: a driver, a kubelet and a container runtime of the host
// give a tenant's containers the devices that a tenant's claims ask for.
func TestPodsHaveDevices(t *testing.T) {
	t.Parallel()
	class := startDriver(t, admin(t, "").names("nodes")[0], "device-a", "device-b", "device-c")
	grantOnHost(t, hostNamespace("devices"), "get,list,watch", "deviceclasses.resource.k8s.io")
	c := private(t, "devices", "devices", devicesFromHost)
	k := c.namespaceOf(t)
	k.run("wait", "--for=create", "deviceclass/"+class, "--timeout", patience.String())
	t.Run("by name", func(t *testing.T) { claimedByName(k.with(t), c, class) })
	t.Run("from a template", func(t *testing.T) { claimedFromTemplate(k.with(t), c, class) })
}

func claimedByName(k kubectl, c *cluster, class string) {
	// Its host name is a shortened one.
	pod := "a-pod-whose-name-leaves-no-room-for-a-namespace-and-a-cluster"
	k.applyWith("claim-by-name.yaml", "CLASS", class, "POD", pod)
	k.waitFor("condition=Ready", "pod/"+pod)
	allocated := k.field("resourceclaim/cards", "{.status.allocation.devices.results[0].device}")
	if got := deviceOf(k, pod); got != allocated {
		k.t.Errorf("the container says %q, and its claim %q", got, allocated)
	}
	if got := k.field("resourceclaim/cards", "{.status.reservedFor[*].name}"); got != pod {
		k.t.Errorf("the claim is reserved for %q", got)
	}
	nothingOfTheHost(k, c)

	k.run("delete", "resourceclaim/cards", "--wait=false")
	if got := k.field("resourceclaim/cards", "{.metadata.deletionTimestamp}"); got == "" {
		k.t.Error("the deleted claim, which is in use, is not being deleted")
	}
	k.run("delete", "pod", pod)
	k.waitFor("delete", "resourceclaim/cards")
}

// deviceOf waits for the container of a pod to log its device.
func deviceOf(k kubectl, pod string) (device string) {
	k.t.Helper()
	eventually(k.t, "the device of "+pod, func() (said bool, out string) {
		out = k.run("logs", pod)
		device, said = strings.CutPrefix(out, "device=")
		return said, out
	})
	return device
}

func claimedFromTemplate(k kubectl, c *cluster, class string) {
	k.applyWith("claim-template.yaml", "CLASS", class)
	k.rolledOut("deployment/workers")
	var devices []string
	for _, pod := range k.names("pods", "-l", "app=workers") {
		claim := k.field("pod/"+pod, "{.status.resourceClaimStatuses[0].resourceClaimName}")
		if owner := k.field("resourceclaim/"+claim, "{.metadata.ownerReferences[0].name}"); owner != pod {
			k.t.Errorf("claim %s of pod %s is owned by %q", claim, pod, owner)
		}
		devices = append(devices, deviceOf(k, pod))
	}
	slices.Sort(devices)
	if len(devices) != 2 || devices[0] == devices[1] || !strings.HasPrefix(devices[0], "device-") {
		k.t.Errorf("the containers have the devices %q", devices)
	}
	nothingOfTheHost(k, c)

	k.run("scale", "deployment/workers", "--replicas=0")
	for _, side := range []kubectl{k, c.host(k.t)} {
		eventually(k.t, "no claims", func() (bool, string) {
			left := side.names("resourceclaims")
			return len(left) == 0, fmt.Sprint(left)
		})
	}
}

// nothingOfTheHost fails if the objects of a namespace show the tenant anything
// of the host.
func nothingOfTheHost(k kubectl, c *cluster) {
	k.t.Helper()
	out := k.run("get", "pods,resourceclaims,resourceclaimtemplates,events", "-o", "yaml")
	for _, word := range []string{"-x-", c.namespace, "absent.portico.dev"} {
		if i := strings.Index(out, word); i >= 0 {
			k.t.Errorf("the tenant reads of %q: ...%s...", word, out[max(0, i-200):min(len(out), i+200)])
		}
	}
}
