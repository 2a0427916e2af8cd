// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUpgradeFromTheCommitBefore makes a cluster with the tool, the chart and the
// image of the commit before, and upgrades it to those of this one, with pods
// running and a watch open: no pod of the tenant restarts or gets another host
// pod, and nothing that was written is lost.
func TestUpgradeFromTheCommitBefore(t *testing.T) {
	t.Parallel()
	loadImage(t)
	loadArchive(t, "porticod-before.tar", "make image-before")
	r := newReader(t)
	before, err := filepath.Abs(filepath.Join(filepath.Dir(lab.porticod), "portico-before"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(before, filepath.Join(r.home, "bin", "portico-before")); err != nil {
		t.Fatal(err)
	}
	r.finally(t, "portico delete upgraded --ignore-not-found")
	r.does(t, "portico-before create upgraded --connect=false --set controlPlane.image.tag=before")
	const namespace = "portico-upgraded"
	host := admin(t, namespace)
	t.Cleanup(func() {
		if t.Failed() {
			out, err := r.run(context.Background(), "kubectl get pods,events -o wide -n "+namespace+"; kubectl logs upgraded-0 -n "+namespace+" --tail=50")
			t.Logf("host namespace: %v\n%s", err, out)
		}
	})
	const image = "{.spec.containers[0].image}"
	if got := host.field("pod/upgraded-0", image); !strings.HasSuffix(got, ":before") {
		t.Fatalf("the cluster runs %s", got)
	}

	k := r.throughService(t, host, "upgraded")
	k.run("create", "secret", "generic", "word", "--from-literal=word=kept")
	k.run("create", "deployment", "web", nettool, "--replicas=2")
	k.run("run", "bare", nettool)
	k.rolledOut("deployment/web")
	k.waitFor("condition=Ready", "pod/bare")
	k.run("expose", "pod/bare", "--port=80")
	const uids, restarts = "{.items[*].metadata.uid}", "{.items[*].status.containerStatuses[*].restartCount}"
	pods, address := k.field("pods", uids), k.field("service/bare", "{.spec.clusterIP}")
	hostPods := host.names("pods", "-l", "portico.dev/namespace")
	c := newCorrespondence(t, k.kubeconfig)
	c.write(t, "before", 5)

	r.does(t, "portico upgrade upgraded --set controlPlane.image.tag=dev")
	if got := host.field("pod/upgraded-0", image); !strings.HasSuffix(got, ":dev") {
		t.Errorf("after the upgrade, the cluster runs %s", got)
	}
	c.write(t, "after", 5)
	c.seen(t)
	if got := k.field("pods", uids); got != pods {
		t.Errorf("the pods are others: %s, before %s", got, pods)
	}
	if got := k.field("pods", restarts); got != "0 0 0" {
		t.Errorf("containers were restarted: %s", got)
	}
	if got := host.names("pods", "-l", "portico.dev/namespace"); strings.Join(got, " ") != strings.Join(hostPods, " ") {
		t.Errorf("the host pods are %v, before %v", got, hostPods)
	}
	if got := k.field("service/bare", "{.spec.clusterIP}"); got != address {
		t.Errorf("the Service has the address %s, before %s", got, address)
	}
	if got := k.field("secret/word", "{.data.word}"); got != "a2VwdA==" {
		t.Errorf("the Secret has %q", got)
	}
	// It works on, and not only shows what there was.
	k.run("rollout", "restart", "deployment/web")
	k.rolledOut("deployment/web")
}
