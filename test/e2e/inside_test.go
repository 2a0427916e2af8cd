// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

// porticod as a pod: the host's own credentials, the image of `make image`, and
// the Service that selects it.
func TestPorticodRunsInsideItsHostNamespace(t *testing.T) {
	t.Parallel()
	namespace := hostNamespace("inside")
	loadImage(t)
	newHostNamespace(t, namespace, filepath.Join(t.TempDir(), "unused"))
	host := admin(t, namespace)
	t.Cleanup(func() {
		if t.Failed() {
			// Not bound to the test's context, which has ended by now.
			out, err := exec.Command(lab.kubectl, "--kubeconfig", lab.kubeconfig, "--namespace", namespace, "logs", "porticod", "-c", "porticod", "--tail=50").CombinedOutput()
			t.Logf("porticod: %v\n%s", err, out)
		}
		if out, err := exec.Command(lab.kubectl, "--kubeconfig", lab.kubeconfig, "delete", "namespace", namespace).CombinedOutput(); err != nil {
			t.Errorf("delete host namespace: %v: %s", err, out)
		}
	})
	host.apply("porticod.yaml")
	host.waitFor("condition=Ready", "pod/porticod")

	k := kubectl{t: t, kubeconfig: serviceKubeconfig(t, host, "porticod", "inside"), namespace: "inside"}
	eventually(t, "answer through the Service", func() (bool, string) {
		r := k.try("", "get", "--raw", "/readyz")
		return r.stdout == "ok", r.String()
	})
	k.run("create", "namespace", k.namespace)
	eventually(t, "default service account", func() (bool, string) {
		r := k.try("", "get", "serviceaccount", "default")
		return r.err == nil, r.stderr
	})
	k.run("create", "rolebinding", "look", "--clusterrole=view", "--serviceaccount="+k.namespace+":default")
	k.apply("web.yaml", "caller.yaml")
	k.rolledOut("deployment/web")
	k.waitFor("jsonpath={.status.phase}=Succeeded", "pod/caller")
	if out := k.run("logs", "caller"); !strings.Contains(out, `"name": "caller"`) {
		t.Errorf("answer to the pod: %s", out)
	}
	if pods := k.names("pods", "-A"); len(pods) != 3 {
		t.Errorf("pods inside: %v, want 3 and none of the host's own", pods)
	}
	// The DNS's Service selects the pod, too.
	k.apply("names.yaml")
	k.findNames()
}

// serviceKubeconfig reads the administrator's kubeconfig out of a porticod's pod
// and leads it to the cluster's host Service, which this machine reaches.
func serviceKubeconfig(t *testing.T, host kubectl, pod, service string) string {
	t.Helper()
	c, err := clientcmd.Load([]byte(host.run("exec", pod, "-c", "shell", "--", "cat", "/data/kubeconfig.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	c.Clusters[c.Contexts[c.CurrentContext].Cluster].Server = "https://" + host.field("service/"+service, "{.spec.clusterIP}")
	path := filepath.Join(t.TempDir(), "kubeconfig.yaml")
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// loadImage brings the image of `make image` to every node of the lab.
func loadImage(t *testing.T) {
	t.Helper()
	loadArchive(t, "porticod-image.tar", "make image")
}

// loadArchive imports an archive that lies next to porticod.
func loadArchive(t *testing.T, name, maker string) {
	t.Helper()
	archive, err := filepath.Abs(filepath.Join(filepath.Dir(lab.porticod), name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(archive); err != nil {
		t.Fatalf("%v; %s makes it", err, maker)
	}
	for _, node := range admin(t, "").names("nodes") {
		cmd := exec.CommandContext(t.Context(), filepath.Join("..", "lab", "node"), strings.TrimPrefix(node, "node"),
			"ctr", "-n", "k8s.io", "images", "import", "--label", "io.cri-containerd.image=managed", archive)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("import the image on %s: %v\n%s", node, err, out)
		}
	}
}
