// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// intruder is a shell in a container of the shared cluster.
type intruder struct {
	kubectl
	cluster *cluster
}

func newIntruder(t *testing.T) intruder {
	t.Helper()
	k, c := shared(t)
	k.apply("intruder.yaml")
	k.waitFor("condition=Ready", "pod/intruder")
	return intruder{kubectl: k, cluster: c}
}

// shell returns what a script in the container prints.
func (i intruder) shell(script string) string {
	i.t.Helper()
	return i.run("exec", "intruder", "--", "bash", "-c", script)
}

// status is that of a request with the pod's own token.
func (i intruder) status(url string) string {
	i.t.Helper()
	return i.shell(`curl --silent --output /dev/null --write-out '%{http_code}' --max-time 20 --insecure \
		--header "Authorization: Bearer $(cat /var/run/secrets/kubernetes.io/serviceaccount/token)" ` + url)
}

// A container looks everywhere in its file system, environment and processes for
// a name or a credential of the host. It finds those of its own cluster alone.
func TestAttackContainerLooksForTheHost(t *testing.T) {
	t.Parallel()
	i := newIntruder(t)
	found := i.shell(`env; cat /etc/hosts /etc/resolv.conf /proc/1/environ /proc/self/mountinfo | tr '\0' '\n'
		find /var/run/secrets /run/secrets -type f 2>/dev/null | while read f; do echo "$f:"; head -c 4096 "$f"; echo; done`)
	for _, secret := range []string{i.cluster.namespace, "-x-" + i.namespace} {
		for line := range strings.Lines(found) {
			// A kubelet names its own directories by the pod's uid, and a driver by its
			// own rules; no line may have the host's names.
			if strings.Contains(line, secret) {
				t.Errorf("the container reads %q in %s", secret, line)
			}
		}
	}
	token := i.shell(`cut -d. -f2 /var/run/secrets/kubernetes.io/serviceaccount/token | tr '_-' '/+' | base64 -d 2>/dev/null; true`)
	if !strings.Contains(token, `"sub":"system:serviceaccount:`+i.namespace+`:default"`) {
		t.Errorf("the token's claims are %s", token)
	}
}

// A container takes its token to the host's API, at the ClusterIP and at the
// address that its nodes use. Neither knows it.
func TestAttackContainerAsksTheHostsAPI(t *testing.T) {
	t.Parallel()
	i := newIntruder(t)
	host := admin(t, "default")
	clusterIP := host.field("service/kubernetes", "{.spec.clusterIP}")
	endpoint := host.run("get", "endpointslices", "-l", "kubernetes.io/service-name=kubernetes",
		"-o", "jsonpath={.items[0].endpoints[0].addresses[0]}:{.items[0].ports[0].port}")
	for _, at := range []string{clusterIP + ":443", endpoint} {
		for _, path := range []string{"/api/v1/namespaces/" + i.cluster.namespace + "/secrets", "/api/v1/nodes", "/apis"} {
			if got := i.status("https://" + at + path); got != "401" {
				t.Errorf("the host's API at %s answers %s with %s, want 401", at, path, got)
			}
		}
	}
}

// A container takes its token to the kubelet of each node. None knows it.
func TestAttackContainerAsksTheKubelets(t *testing.T) {
	t.Parallel()
	i := newIntruder(t)
	nodes := strings.Fields(admin(t, "").run("get", "nodes", "-o", `jsonpath={.items[*].status.addresses[?(@.type=="InternalIP")].address}`))
	if len(nodes) == 0 {
		t.Fatal("the lab has no nodes")
	}
	for _, node := range nodes {
		for _, path := range []string{"/pods", "/metrics", "/runningpods/"} {
			if got := i.status("https://" + node + ":10250" + path); got != "401" && got != "403" {
				t.Errorf("the kubelet of %s answers %s with %s", node, path, got)
			}
		}
	}
}

// A pod's ServiceAccount, which has no rights, asks its own API for everything
// that an attacker would start with. RBAC of the virtual cluster says no.
func TestAttackContainerAsksItsOwnAPIForMore(t *testing.T) {
	t.Parallel()
	i := newIntruder(t)
	for _, path := range []string{
		"/api/v1/secrets", "/api/v1/namespaces/kube-system/secrets", "/api/v1/namespaces/" + i.namespace + "/pods/intruder/exec?command=id",
		"/apis/rbac.authorization.k8s.io/v1/clusterroles", "/metrics", "/logs/", "/debug/pprof/heap",
	} {
		if got := i.status("https://kubernetes.default.svc" + path); got != "403" {
			t.Errorf("%s: %s, want 403", path, got)
		}
	}
}

// A container asks the cluster's DNS for Services of the host and of other
// clusters, by name and by address.
func TestAttackContainerAsksTheDNSForTheHost(t *testing.T) {
	t.Parallel()
	i := newIntruder(t)
	names := []string{
		"kube-dns.kube-system.svc." + i.cluster.namespace + ".cluster.local", "metrics-server.kube-system.svc.cluster.local",
		i.cluster.name + "." + i.cluster.namespace + ".svc.cluster.local", "any.any.svc.cluster.local",
	}
	for _, name := range names {
		if got := i.shell("for type in A AAAA SRV TXT; do dig +short +time=2 +tries=2 " + name + " $type; done"); strings.TrimSpace(got) != "" {
			t.Errorf("%s is %s", name, got)
		}
	}
	metrics := admin(t, "kube-system").field("service/metrics-server", "{.spec.clusterIP}")
	if got := i.shell("dig +short +time=2 +tries=2 -x " + metrics); strings.TrimSpace(got) != "" {
		t.Errorf("the address of a Service of the host has the name %s", got)
	}
	if got := i.shell("dig +time=2 +tries=1 axfr cluster.local"); strings.Contains(got, "IN\tA") {
		t.Errorf("the zone is transferred: %s", got)
	}
}
