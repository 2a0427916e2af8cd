// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Pods have the same lines in /etc/hosts as a kubelet of an ordinary cluster
// writes, from an init container that the tenant does not see, in a host
// namespace that is as strict as can be.
func TestPodsFindTheirFullNames(t *testing.T) {
	t.Parallel()
	loadImage(t)
	c := private(t, "names", "names")
	admin(t, "").run("label", "namespace", c.namespace, "pod-security.kubernetes.io/enforce=restricted")
	if err := c.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(c.dir, "portico.yaml")
	config, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, append(config, "pods:\n  hostsImage: portico.dev/portico/porticod:dev\n"...))
	if err := c.start(t); err != nil {
		t.Fatalf("start again: %v\n%s", err, c.tail())
	}
	k := c.namespaceOf(t)
	k.apply("fullnames.yaml")
	k.rolledOut("statefulset/db")
	k.waitFor("condition=Ready", "pod/single")

	for container, pod := range map[string]string{"glibc": "db-0", "musl": "db-0", "main": "single"} {
		short := map[string]string{"db-0": "db-0", "single": "primary"}[pod]
		full := short + ".db." + k.namespace + ".svc.cluster.local"
		if got := strings.TrimSpace(k.run("exec", pod, "-c", container, "--", "hostname", "-f")); got != full {
			t.Errorf("%s in %s calls itself %q, want %q", container, pod, got, full)
		}
		hosts := k.run("exec", pod, "-c", container, "--", "cat", "/etc/hosts")
		want := "\nfe00::2\tip6-allrouters\n" + k.field("pod/"+pod, "{.status.podIP}") + "\t" + full + "\t" + short + "\n"
		if !strings.HasPrefix(hosts, "# Kubernetes-managed hosts file.\n") || !strings.Contains(hosts, want) {
			t.Errorf("/etc/hosts of %s in %s:\n%s\nwant in it:%s", container, pod, hosts, want)
		}
	}
	if got, want := strings.TrimSpace(k.run("logs", "single", "-c", "prepare")), "primary.db."+k.namespace+".svc.cluster.local"; got != want {
		t.Errorf("the init container calls itself %q, want %q", got, want)
	}
	if got := k.field("pod/db-0", "{.status.qosClass}"); got != "Guaranteed" {
		t.Errorf("the quality of service is %s", got)
	}

	if all := k.run("get", "pods,events", "-o", "yaml"); strings.Contains(all, "portico-hosts") {
		t.Errorf("the tenant sees the container:\n%s", all)
	}
	log := "/api/v1/namespaces/" + k.namespace + "/pods/single/log?container=portico-hosts"
	if out := k.refused("get", "--raw", log); !strings.Contains(out, "container portico-hosts is not valid for pod single") {
		t.Errorf("the log of the hidden container: %s", out)
	}
	// The first init container is the tenant's.
	k.run("patch", "pod", "single", "--type=json", "-p", `[{"op":"replace","path":"/spec/initContainers/0/image","value":"docker.io/library/nginx:1.27"}]`)
	host := c.host(t).field("pod/"+c.hostName(k.namespace, "single"), "{.spec.initContainers[*].image}")
	if want := "portico.dev/portico/porticod:dev docker.io/library/nginx:1.27"; host != want {
		t.Errorf("init containers on the host have the images %s, want %s", host, want)
	}
}
