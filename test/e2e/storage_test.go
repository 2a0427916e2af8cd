// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

func TestClaimIsBoundAndKeepsWhatWasWritten(t *testing.T) {
	t.Parallel()
	k, c := shared(t)
	k.apply("claim.yaml", "writer.yaml")
	k.waitFor("jsonpath={.status.phase}=Bound", "pvc/data")
	k.waitFor("jsonpath={.status.phase}=Succeeded", "pod/writer")
	k.run("delete", "pod/writer")
	k.apply("reader.yaml")
	k.waitFor("jsonpath={.status.phase}=Succeeded", "pod/reader")
	if got := k.run("logs", "reader"); got != "written" {
		t.Errorf("read %q", got)
	}
	if v, h := k.field("pvc/data", "{.spec.volumeName}"), c.host(t).field("pvc/"+c.hostName(k.namespace, "data"), "{.spec.volumeName}"); v != h || v == "" {
		t.Errorf("volume is %q inside and %q on the host", v, h)
	}
	// The claim is protected while a pod uses it, and goes with the last one.
	k.run("delete", "pod/reader")
	k.run("delete", "pvc/data", "--timeout", patience.String())
	if out := c.host(t).refused("get", "pvc", c.hostName(k.namespace, "data")); !strings.Contains(out, "not found") {
		t.Errorf("host claim: %s", out)
	}
}

// A Secret reaches the host before the pod that mounts it, and changes of it
// reach the running pod.
func TestMountedSecretFollowsItsChanges(t *testing.T) {
	t.Parallel()
	k := shell(t)
	if got := k.run("exec", "shell", "--", "cat", "/credentials/password"); got != "first" {
		t.Fatalf("password in the pod: %q", got)
	}
	k.run("patch", "secret/credentials", "--type=merge", "-p", `{"stringData":{"password":"second"}}`)
	// A write to the pod makes the kubelet look at once instead of in a minute.
	k.run("annotate", "pod/shell", "looked=again")
	eventually(t, "changed password in the pod", func() (bool, string) {
		r := k.try("", "exec", "shell", "--", "cat", "/credentials/password")
		return r.stdout == "second", r.String()
	})
}
