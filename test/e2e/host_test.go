// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// admin is the host's administrator in one of its namespaces.
func admin(t *testing.T, namespace string) kubectl {
	return kubectl{t: t, kubeconfig: lab.kubeconfig, namespace: namespace}
}

// hostNamespace names a namespace of the host. Two runs at the same time, on
// one lab, have each their own.
func hostNamespace(suffix string) string {
	return fmt.Sprintf("portico-e2e-%d-%s", os.Getpid(), suffix)
}

// newHostNamespace makes a namespace with a ServiceAccount that has the Role
// of testdata/role.yaml, and writes that account's kubeconfig.
func newHostNamespace(t *testing.T, namespace, kubeconfig string) {
	t.Helper()
	admin(t, "").run("create", "namespace", namespace)
	k := admin(t, namespace)
	k.apply("role.yaml")
	k.run("create", "serviceaccount", "porticod")
	k.run("create", "rolebinding", "porticod", "--role=porticod", "--serviceaccount="+namespace+":porticod")
	token := k.run("create", "token", "porticod", "--duration=4h")
	if err := withToken(lab.kubeconfig, kubeconfig, token); err != nil {
		t.Fatal(err)
	}
	if out := (kubectl{t: t, kubeconfig: kubeconfig, namespace: "kube-system"}).refused("get", "pods"); out == "" {
		t.Fatal("the host account was refused without a word")
	}
}

// grantNodes gives a namespace's account the ClusterRole of
// testdata/clusterrole.yaml.
func grantNodes(t *testing.T, namespace string) {
	t.Helper()
	role, err := os.ReadFile(filepath.Join("testdata", "clusterrole.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	k := admin(t, "")
	// Runs at the same time must not take it away from each other.
	own := strings.Replace(string(role), "name: porticod-nodes", "name: "+namespace, 1)
	if r := k.try(own, "apply", "-f", "-"); r.err != nil {
		t.Fatal(r)
	}
	k.run("create", "clusterrolebinding", namespace, "--clusterrole="+namespace, "--serviceaccount="+namespace+":porticod")
	afterwards(t, "delete", "clusterrole,clusterrolebinding", namespace)
}

// grantOnHost gives a namespace's account verbs on a resource that is in no
// namespace.
func grantOnHost(t *testing.T, namespace, verbs, resource string) {
	t.Helper()
	kind, _, _ := strings.Cut(resource, ".")
	k, name := admin(t, ""), namespace+"-"+kind
	k.run("create", "clusterrole", name, "--verb="+verbs, "--resource="+resource)
	k.run("create", "clusterrolebinding", name, "--clusterrole="+name, "--serviceaccount="+namespace+":porticod")
	afterwards(t, "delete", "clusterrole,clusterrolebinding", name)
}

// afterwards runs kubectl as the host's administrator when the test has ended.
func afterwards(t *testing.T, args ...string) {
	t.Helper()
	t.Cleanup(func() {
		// Not bound to the test's context, which has ended by now.
		out, err := exec.Command(lab.kubectl, append([]string{"--kubeconfig", lab.kubeconfig}, args...)...).CombinedOutput()
		if err != nil {
			t.Errorf("kubectl %s: %v: %s", strings.Join(args, " "), err, out)
		}
	})
}

// withToken writes the kubeconfig at from to path, with a token in the place of
// its user.
func withToken(from, path, token string) error {
	c, err := clientcmd.LoadFromFile(from)
	if err != nil {
		return err
	}
	context := c.Contexts[c.CurrentContext]
	c.AuthInfos = map[string]*clientcmdapi.AuthInfo{context.AuthInfo: {Token: token}}
	return clientcmd.WriteToFile(*c, path)
}

// doorAddress returns an address of this machine that pods reach, with a port
// that is free.
func doorAddress() (string, error) {
	config, err := clientcmd.BuildConfigFromFlags("", lab.kubeconfig)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(config.Host)
	if err != nil {
		return "", err
	}
	// No packet is sent: the kernel only says by which address it would go.
	c, err := net.Dial("udp", u.Host)
	if err != nil {
		return "", err
	}
	defer c.Close()
	ip := c.LocalAddr().(*net.UDPAddr).IP
	// porticod keeps its port over restarts, so it cannot be left to the kernel.
	l, err := net.Listen("tcp", net.JoinHostPort(ip.String(), "0"))
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// writeConfig writes the portico.yaml of a virtual cluster.
func writeConfig(dir, name, namespace, address, resolver string, more ...string) error {
	return os.WriteFile(filepath.Join(dir, "portico.yaml"), fmt.Appendf(nil, `name: %s
host:
  kubeconfig: %s
  namespace: %s
  advertiseAddress: %s
dataDir: %s
listen: %s
coredns:
  upstream: [%s]
%s
`, name, filepath.Join(dir, "host.kubeconfig"), namespace, address, filepath.Join(dir, "data"), address, resolver, strings.Join(more, "\n")), 0o600)
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
