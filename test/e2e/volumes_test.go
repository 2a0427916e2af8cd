// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

func TestVolumesOfEveryKind(t *testing.T) {
	t.Parallel()
	k, c := shared(t)
	k.apply("volumes.yaml")
	k.waitFor("condition=Ready", "pod/reader")
	for script, want := range map[string]string{
		"cat /items/dir/renamed":                               "content of a",
		"ls -lL /items/dir/renamed | cut -c1-10":               "-r--------",
		"cat /etc/one":                                         "content of a",
		"cat /all/b; echo; cat /all/user; echo; cat /all/name": "content of b\nalice\nreader",
		"ls -lL /all/user | cut -c1-10":                        "-r--r-----",
		"ls /absent":                                           "",
		"find /whole -mindepth 1":                              "/whole/reader\n/whole/reader/x",
		"echo $S_user $S_password $MISSING":                    "alice secret",
		"mount | grep -c ' on /whole type tmpfs'":              "1",
	} {
		if got := k.run("exec", "reader", "--", "sh", "-c", script); got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
	// The claim of a generic ephemeral volume is named for its pod, and goes
	// with it.
	if got := k.field("pvc/reader-own", "{.status.phase} {.metadata.labels.kind} {.metadata.ownerReferences[0].kind}/{.metadata.ownerReferences[0].name}"); got != "Bound own Pod/reader" {
		t.Errorf("claim of the ephemeral volume: %s", got)
	}
	if got := k.field("pod/reader", `{.spec.volumes[?(@.name=="own")].ephemeral.volumeClaimTemplate.metadata.labels.kind}`); got != "own" {
		t.Errorf("the pod's template is gone: %q", got)
	}
	c.saysNothingOfTheHost(t, "kubectl describe", k.run("describe", "pod/reader", "pvc/reader-own"))
	k.run("delete", "pod/reader")
	k.waitFor("delete", "pvc/reader-own")
	c.host(t).waitFor("delete", "pvc/"+c.hostName(k.namespace, "reader-own"))
}

func TestStatefulSetKeepsItsClaims(t *testing.T) {
	t.Parallel()
	k, c := shared(t)
	k.apply("keeper.yaml")
	k.rolledOut("statefulset/keeper")
	first := k.field("pod/keeper-0", "{.metadata.uid}")
	volume := k.field("pvc/data-keeper-0", "{.spec.volumeName}")
	k.run("delete", "pod/keeper-0")
	eventually(t, "the pod anew", func() (bool, string) {
		r := k.try("", "get", "pod/keeper-0", "-o", "jsonpath={.metadata.uid}")
		return r.err == nil && r.stdout != first, r.String()
	})
	k.rolledOut("statefulset/keeper")
	second := k.field("pod/keeper-0", "{.metadata.uid}")
	if got, want := k.run("exec", "keeper-0", "--", "cat", "/data/starts"), "keeper-0 "+first+"\nkeeper-0 "+second; got != want {
		t.Errorf("starts that the volume tells of: %q, want %q", got, want)
	}
	if got := k.field("pvc/data-keeper-0", "{.spec.volumeName}"); got != volume {
		t.Errorf("the claim has volume %s, had %s", got, volume)
	}
	// whenScaled and whenDeleted are Delete: claims go with their pods' reasons.
	k.run("scale", "statefulset/keeper", "--replicas=1")
	k.waitFor("delete", "pvc/data-keeper-1")
	if got := k.names("pvc"); strings.Join(got, " ") != "data-keeper-0" {
		t.Errorf("claims after scaling: %v", got)
	}
	k.run("delete", "statefulset/keeper")
	k.waitFor("delete", "pvc/data-keeper-0")
	c.host(t).waitFor("delete", "pvc/"+c.hostName(k.namespace, "data-keeper-0"))
}
