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

// The host deletes the objects that a cluster stands on, under running pods with a
// volume. The pods and the data stay, they reach their API at the address that they
// know, and new pods start.
func TestHostDeletesTheFoundations(t *testing.T) {
	t.Parallel()
	c := private(t, "foundations", "foundations")
	k, host := c.namespaceOf(t), admin(t, c.namespace)
	k.apply("web.yaml", "shell.yaml", "claim.yaml", "writer.yaml")
	k.rolledOut("deployment/web")
	k.waitFor("condition=Ready", "pod/shell")
	k.waitFor("jsonpath={.status.phase}=Succeeded", "pod/writer")
	stays := func() string {
		return k.run("get", "pods,pvc,services", "-o", "jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.uid}{\"\\n\"}{end}")
	}
	address, before := host.field("service/"+c.name, "{.spec.clusterIP}"), stays()

	for i, deletion := range [][]string{
		{"service", c.name},
		{"service", c.name, "--cascade=orphan"},
		{"serviceaccount", c.name + "-workload"},
		{"endpointslices", "-l", "kubernetes.io/service-name=" + c.name},
		{"configmap", c.name + ".anchor", "--cascade=orphan"},
	} {
		what := strings.Join(deletion, " ")
		host.run(append([]string{"delete"}, deletion...)...)
		eventually(t, "the API of running pods after the deletion of "+what, func() (bool, string) {
			r := k.try("", "exec", "shell", "--", "sh", "-c", "nc -w 2 $KUBERNETES_SERVICE_HOST 443 </dev/null")
			return r.err == nil, r.String()
		})
		pod := fmt.Sprintf("new-%d", i)
		eventually(t, "a new pod after the deletion of "+what, func() (bool, string) {
			r := k.try("", "run", pod, "--image=docker.io/library/busybox:1.37", "--restart=Never", "--command", "--", "sleep", "3600")
			return r.err == nil, r.String()
		})
		k.waitFor("condition=Ready", "pod/"+pod)
		k.run("delete", "pod", pod, "--now")
	}
	if now := host.field("service/"+c.name, "{.spec.clusterIP}"); now != address {
		t.Errorf("the address was %s and is %s", address, now)
	}
	if now := stays(); now != before {
		t.Errorf("objects were\n%s\nand are\n%s", before, now)
	}
	uid := host.field("configmap/"+c.name+".anchor", "{.metadata.uid}")
	eventually(t, "everything has the new owner", func() (bool, string) {
		owners := strings.Fields(host.run("get", "pods,pvc,services", "-l", "portico.dev/cluster="+c.name, "-o", "jsonpath={.items[*].metadata.ownerReferences[*].uid}"))
		return len(owners) > 0 && !slices.ContainsFunc(owners, func(o string) bool { return o != uid }), fmt.Sprint(owners, uid)
	})
	for _, kind := range []string{"Service", "ServiceAccount", "ConfigMap"} {
		eventually(t, "an Event about the "+kind, func() (bool, string) {
			out := host.run("get", "events", "--field-selector", "reason=PutBack", "-o", `jsonpath={range .items[*]}{.message}{"\n"}{end}`)
			return strings.Contains("\n"+out, "\n"+kind+" "), out
		})
	}
}
