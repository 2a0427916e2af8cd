// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

// Two clusters of one name in two host namespaces, with the same objects, which
// would collide if a host name, a selector or a certificate were shared.
func TestTwoClustersSeeNothingOfEachOther(t *testing.T) {
	t.Parallel()
	a := private(t, "twin", "twin-a")
	b := private(t, "twin", "twin-b")
	in := map[*cluster]kubectl{a: a.namespaceOf(t), b: b.namespaceOf(t)}
	for _, k := range in {
		k.apply("web.yaml", "shell.yaml")
	}
	for c, k := range in {
		k.rolledOut("deployment/web")
		k.waitFor("condition=Ready", "pod/shell")
		inside, host := k.names("pods", "-A"), c.host(t).names("pods")
		if len(inside) != 3 || len(host) != 3 {
			t.Errorf("%s: %v inside, %v on the host, want 3 pods", c.namespace, inside, host)
		}
	}
	ipA, ipB := in[a].field("service/web", "{.spec.clusterIP}"), in[b].field("service/web", "{.spec.clusterIP}")
	if ipA == ipB {
		t.Errorf("both services have the cluster IP %s", ipA)
	}
	if uidA, uidB := in[a].field("pod/shell", "{.metadata.uid}"), in[b].field("pod/shell", "{.metadata.uid}"); uidA == uidB {
		t.Errorf("both pods have the uid %s", uidA)
	}

	refusedBy(t, a, b)
	refusedBy(t, b, a)

	// The end of one is none of the other's business.
	in[a].run("delete", "namespace", in[a].namespace, "--timeout", patience.String())
	if left := a.host(t).names("pods"); len(left) > 0 {
		t.Errorf("host pods of a deleted namespace: %v", left)
	}
	if kept := in[b].names("pods"); len(kept) != 3 {
		t.Errorf("pods of the other cluster: %v, want 3", kept)
	}
}

// refusedBy checks that the administrator of one cluster, and the token of one
// of its pods, are refused in another cluster and on the host.
func refusedBy(t *testing.T, of, by *cluster) {
	t.Helper()
	k := kubectl{t: t, kubeconfig: of.kubeconfig(), namespace: "default"}
	token := k.run("create", "token", "default")
	theirs, err := clientcmd.LoadFromFile(by.kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	server := theirs.Clusters[theirs.Contexts[theirs.CurrentContext].Cluster]
	ca := t.TempDir() + "/ca.crt"
	writeFile(t, ca, server.CertificateAuthorityData)
	// Their CA, so that it is not our client that refuses.
	if out := k.refused("--server", server.Server, "--certificate-authority", ca, "get", "pods", "-A"); !strings.Contains(out, "logged in") && !strings.Contains(out, "Unauthorized") {
		t.Errorf("administrator of %s at %s: %s", of.namespace, by.namespace, out)
	}
	nobody := kubectl{t: t, kubeconfig: "/dev/null", namespace: "default"}
	if out := nobody.refused("--server", server.Server, "--certificate-authority", ca, "--token", token, "get", "pods"); !strings.Contains(out, "logged in") && !strings.Contains(out, "Unauthorized") {
		t.Errorf("token of %s at %s: %s", of.namespace, by.namespace, out)
	}
	host, err := clientcmd.LoadFromFile(lab.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	server = host.Clusters[host.Contexts[host.CurrentContext].Cluster]
	writeFile(t, ca, server.CertificateAuthorityData)
	if out := nobody.refused("--server", server.Server, "--certificate-authority", ca, "--token", token, "get", "pods"); !strings.Contains(out, "logged in") && !strings.Contains(out, "Unauthorized") {
		t.Errorf("token of %s at the host: %s", of.namespace, out)
	}
}

// The host's own admission decides about pods; its messages reach the tenant in
// the tenant's names.
func TestHostRefusalIsToldInVirtualNames(t *testing.T) {
	t.Parallel()
	c := private(t, "strict", "strict")
	k := c.namespaceOf(t)
	admin(t, "").run("label", "namespace", c.namespace, "pod-security.kubernetes.io/enforce=restricted")
	refusal := k.refused("run", "greedy", "--image=docker.io/library/busybox:1.37", "--privileged")
	if !strings.Contains(refusal, "Forbidden") || !strings.Contains(refusal, `pods "greedy" is forbidden`) {
		t.Errorf("refusal: %s", refusal)
	}
	for _, name := range []string{"-x-", c.namespace} {
		if strings.Contains(refusal, name) {
			t.Errorf("%q of the host leaks: %s", name, refusal)
		}
	}
	if left := c.host(t).names("pods"); len(left) > 0 {
		t.Errorf("host pods after a refusal: %v", left)
	}
}

// No text that the tenant reads may contain names that only the host knows.
func TestNothingOfTheHostIsInTokensAndEvents(t *testing.T) {
	t.Parallel()
	k, c := shared(t)
	k.apply("shell.yaml")
	k.waitFor("condition=Ready", "pod/shell")
	eventually(t, "events of the kubelet", func() (bool, string) {
		reasons := strings.Fields(k.run("get", "events", "--field-selector=involvedObject.name=shell", "-o", "jsonpath={.items[*].reason}"))
		return slices.Contains(reasons, "Started"), strings.Join(reasons, " ")
	})
	for what, text := range map[string]string{"events": k.run("get", "events", "-o", "yaml"), "pod": k.run("get", "pod/shell", "-o", "yaml")} {
		if strings.Contains(text, "-x-"+k.namespace) || strings.Contains(text, c.namespace) || strings.Contains(text, "shell-token") {
			t.Errorf("%s name the host's side:\n%s", what, text)
		}
	}
	token := k.run("exec", "shell", "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token")
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("token in the pod: %q", token)
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"pod":{"name":"shell"`, `system:serviceaccount:` + k.namespace + `:default`} {
		if !strings.Contains(string(claims), want) {
			t.Errorf("token does not say %s: %s", want, claims)
		}
	}
	if strings.Contains(string(claims), c.namespace) || strings.Contains(string(claims), "-x-") {
		t.Errorf("token names the host's side: %s", claims)
	}
}
