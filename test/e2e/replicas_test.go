// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"portico.dev/portico/test/servers"
)

// Two porticods behind the cluster's Service, with a kubectl that knows nothing
// of them: the one that leads is killed in the middle of a rollout, then all are
// replaced, with nothing kept but the etcd and the host namespace.
func TestReplicasAsPods(t *testing.T) {
	t.Parallel()
	namespace := hostNamespace("replicas")
	loadImage(t)
	newHostNamespace(t, namespace, filepath.Join(t.TempDir(), "unused"))
	host := admin(t, namespace)
	t.Cleanup(func() {
		if t.Failed() {
			// Not bound to the test's context, which has ended by now.
			out, err := exec.Command(lab.kubectl, "--kubeconfig", lab.kubeconfig, "--namespace", namespace, "logs", "-l", "app=porticod", "-c", "porticod", "--tail=50", "--prefix").CombinedOutput()
			t.Logf("porticods: %v\n%s", err, out)
		}
		if out, err := exec.Command(lab.kubectl, "--kubeconfig", lab.kubeconfig, "delete", "namespace", namespace).CombinedOutput(); err != nil {
			t.Errorf("delete host namespace: %v: %s", err, out)
		}
	})
	address, err := doorAddress()
	if err != nil {
		t.Fatal(err)
	}
	ip, _, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	etcd := servers.Etcd(t, servers.EtcdOptions{Host: ip})
	manifest, err := os.ReadFile(filepath.Join("testdata", "replicas.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if r := host.try(strings.ReplaceAll(string(manifest), "STORE", etcd.Address), "apply", "-f", "-"); r.err != nil {
		t.Fatal(r)
	}
	host.rolledOut("deployment/porticod")

	k := kubectl{t: t, kubeconfig: serviceKubeconfig(t, host, "deployment/porticod", "replicas"), namespace: "shop"}
	k.run("create", "namespace", k.namespace)
	eventually(t, "default service account", func() (bool, string) {
		r := k.try("", "get", "serviceaccount", "default")
		return r.err == nil, r.stderr
	})
	k.run("create", "rolebinding", "look", "--clusterrole=view", "--serviceaccount="+k.namespace+":default")
	k.apply("web.yaml", "caller.yaml")
	k.rolledOut("deployment/web")
	k.waitFor("jsonpath={.status.phase}=Succeeded", "pod/caller")
	eventually(t, "both doors are endpoints of default/kubernetes", func() (bool, string) {
		r := k.try("", "get", "endpoints", "kubernetes", "-n", "default", "-o", "jsonpath={.subsets[*].addresses[*].ip}")
		doors, pods := strings.Fields(r.stdout), strings.Fields(host.field("pods", "{.items[?(@.metadata.labels.app=='porticod')].status.podIP}"))
		slices.Sort(doors)
		slices.Sort(pods)
		return len(doors) == 2 && slices.Equal(doors, pods), r.String()
	})

	holder := k.run("get", "lease", "portico-controllers", "-n", "kube-system", "-o", "jsonpath={.spec.holderIdentity}")
	leads := podOf(t, host, holder)
	k.run("rollout", "restart", "deployment/web")
	host.run("delete", "pod", leads, "--grace-period=0", "--force")
	// A plain kubectl meets the dead door once in a while, until the host's
	// proxies know; it is the user who tries again then.
	eventually(t, "rollout goes on under another leader", func() (bool, string) {
		r := k.try("", "rollout", "status", "deployment/web", "--timeout=10s")
		return r.err == nil, r.String()
	})
	if now := k.run("get", "lease", "portico-controllers", "-n", "kube-system", "-o", "jsonpath={.spec.holderIdentity}"); now == holder {
		t.Errorf("%s still leads", now)
	}

	// New pods have empty directories, and the kubeconfig goes on to work.
	host.rolledOut("deployment/porticod")
	host.run("rollout", "restart", "deployment/porticod")
	host.rolledOut("deployment/porticod")
	k.run("scale", "deployment/web", "--replicas=3")
	k.rolledOut("deployment/web")
	if pods := k.names("pods", "-l", "app=web", "--field-selector=status.phase=Running"); len(pods) < 3 {
		t.Errorf("pods %v, want 3", pods)
	}
}

// podOf returns the porticod pod that has a leader's identity, which is random:
// the log alone says which pod it belongs to.
func podOf(t *testing.T, host kubectl, identity string) string {
	t.Helper()
	for line := range strings.Lines(host.run("logs", "-l", "app=porticod", "-c", "porticod", "--tail=-1", "--prefix")) {
		if strings.Contains(line, `"This replica has an identity" identity="`+identity+`"`) {
			pod, _, _ := strings.Cut(strings.TrimPrefix(line, "[pod/"), "/")
			return pod
		}
	}
	t.Fatalf("no porticod has the identity %s", identity)
	return ""
}
