// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// porticod is killed in the middle of a rolling update, with writes going on.
// Acknowledged writes are there afterwards, and the update completes.
func TestKillDuringRolloutLosesNothing(t *testing.T) {
	t.Parallel()
	c := private(t, "killed", "killed")
	k := c.namespaceOf(t)
	k.apply("web.yaml")
	k.run("scale", "deployment/web", "--replicas=4")
	k.rolledOut("deployment/web")

	k.run("set", "image", "deployment/web", "nginx=docker.io/library/nginx:1.28")
	eventually(t, "rollout under way", func() (bool, string) {
		out := k.field("deployment/web", "{.status.updatedReplicas}")
		return out != "" && out != "0", out
	})
	written := writeUntilKilled(t, c, k)
	if err := c.start(t); err != nil {
		t.Fatalf("start again: %v\n%s", err, c.tail())
	}

	k.rolledOut("deployment/web")
	have := k.names("configmaps")
	for _, name := range written {
		if !slices.Contains(have, name) {
			t.Errorf("%s was acknowledged and is lost", name)
		}
	}
	eventually(t, "the same pods on both sides, all of the new image", func() (bool, string) {
		images := strings.Fields(k.run("get", "pods", "-o", "jsonpath={.items[*].spec.containers[*].image}"))
		host := c.host(t).names("pods")
		var want []string
		for _, pod := range k.names("pods") {
			want = append(want, c.hostName(k.namespace, pod))
		}
		slices.Sort(host)
		slices.Sort(want)
		updated := !slices.ContainsFunc(images, func(i string) bool { return i != "docker.io/library/nginx:1.28" })
		return len(images) == 4 && updated && slices.Equal(host, want), fmt.Sprintf("%v; host %v, want %v", images, host, want)
	})
	// Connections to pods and the service's address are the same as before.
	if got := k.run("exec", k.names("pods")[0], "--", "true"); got != "" {
		t.Errorf("exec after the restart: %q", got)
	}
}

// writeUntilKilled makes ConfigMaps, kills porticod after some of them, and
// returns the names of those that were acknowledged.
func writeUntilKilled(t *testing.T, c *cluster, k kubectl) []string {
	t.Helper()
	var written []string
	for i := range 10 {
		name := fmt.Sprintf("written-%d", i)
		k.run("create", "configmap", name, "--from-literal=n="+fmt.Sprint(i))
		written = append(written, name)
	}
	if err := c.end(syscall.SIGKILL); err != nil {
		t.Fatalf("kill porticod: %v", err)
	}
	return written
}

// A second process on the same data would corrupt it.
func TestSecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	_, c := shared(t)
	out, err := c.secondProcess(t)
	if err == nil || !strings.Contains(out, "error: ") || !strings.Contains(out, "in use") {
		t.Errorf("second process: %v\n%s", err, out)
	}
}
