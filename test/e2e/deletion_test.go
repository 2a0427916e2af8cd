// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// With foreground deletion an owner goes after its last dependent. The
// finalizer that says so is the tenant's and never on the host.
func TestForegroundDeletionGoesBottomUp(t *testing.T) {
	t.Parallel()
	k, c := shared(t)
	k.apply("web.yaml")
	k.rolledOut("deployment/web")
	pods := k.names("pods")
	k.run("delete", "deployment/web", "--cascade=foreground", "--timeout", patience.String())
	if left := k.names("replicasets,pods"); len(left) > 0 {
		t.Errorf("the deployment is gone before %v", left)
	}
	for _, pod := range pods {
		if out := c.host(t).refused("get", "pod", c.hostName(k.namespace, pod)); !strings.Contains(out, "not found") {
			t.Errorf("host pod of %s: %s", pod, out)
		}
	}
}

func TestOrphanDeletionLeavesPodsAlone(t *testing.T) {
	t.Parallel()
	k, c := shared(t)
	k.apply("web.yaml")
	k.rolledOut("deployment/web")
	pods := k.names("pods")
	k.run("delete", "deployment/web", "--cascade=orphan")
	rs := k.names("replicasets")
	if len(rs) != 1 {
		t.Fatalf("replica sets after the deployment: %v, want 1", rs)
	}
	k.run("delete", "replicaset/"+rs[0], "--cascade=orphan")
	for _, pod := range pods {
		if owners := k.field("pod/"+pod, "{.metadata.ownerReferences}"); owners != "" {
			t.Errorf("pod %s still has owners %s", pod, owners)
		}
		if phase := c.host(t).field("pod/"+c.hostName(k.namespace, pod), "{.status.phase}"); phase != "Running" {
			t.Errorf("host pod of %s is %s", pod, phase)
		}
	}
	// A ReplicaSet of the same selector takes them over again.
	k.apply("web.yaml")
	k.rolledOut("deployment/web")
	for _, pod := range pods {
		if owner := k.field("pod/"+pod, "{.metadata.ownerReferences[0].kind}"); owner != "ReplicaSet" {
			t.Errorf("pod %s was not adopted: owner %q", pod, owner)
		}
	}
}

func TestNamespaceDeletionLeavesNothingOnTheHost(t *testing.T) {
	t.Parallel()
	k, c := shared(t)
	k.apply("web.yaml", "shell.yaml", "claim.yaml")
	k.rolledOut("deployment/web")
	k.waitFor("condition=Ready", "pod/shell")
	k.run("delete", "namespace", k.namespace, "--timeout", patience.String())
	eventually(t, "nothing of the namespace on the host", func() (bool, string) {
		left := c.host(t).names("pods,services,pvc,secrets,configmaps,endpointslices", "-l", "portico.dev/namespace="+k.namespace)
		return len(left) == 0, strings.Join(left, " ")
	})
}
