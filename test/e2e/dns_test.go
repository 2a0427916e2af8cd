// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// hostDNS is the address of the host's own DNS, which answers NXDOMAIN for all
// that is not the host's: no question leaves the lab.
func hostDNS(t *testing.T) string {
	t.Helper()
	return admin(t, "kube-system").field("service/kube-dns", "{.spec.clusterIP}")
}

// lookup runs a command in the resolver pod until its lines, sorted, are want.
func (k kubectl) lookup(container, what string, want []string, command ...string) {
	k.t.Helper()
	slices.Sort(want)
	eventually(k.t, what, func() (bool, string) {
		r := k.try("", append([]string{"exec", "resolver", "-c", container, "--"}, command...)...)
		lines := strings.Fields(strings.ReplaceAll(r.stdout, " ", "_"))
		slices.Sort(lines)
		return slices.Equal(lines, want), r.String()
	})
}

func (k kubectl) dig(want []string, args ...string) {
	k.t.Helper()
	k.lookup("debian", "dig "+strings.Join(args, " "), want, append([]string{"dig", "+short", "+time=2", "+tries=1"}, args...)...)
}

// findNames looks up the names that a tenant's programs look up. It needs
// web.yaml and names.yaml.
func (k kubectl) findNames() {
	k.t.Helper()
	t := k.t
	k.rolledOut("statefulset/db")
	k.waitFor("condition=Ready", "pod/resolver")
	web := k.field("service/web", "{.spec.clusterIP}")
	first, second := k.field("pod/db-0", "{.status.podIP}"), k.field("pod/db-1", "{.status.podIP}")
	suffix := k.namespace + ".svc.cluster.local"

	for _, name := range []string{"web", "web." + k.namespace, "web." + k.namespace + ".svc", "web." + suffix, "web." + suffix + "."} {
		eventually(t, "getent "+name, func() (bool, string) {
			r := k.try("", "exec", "resolver", "-c", "debian", "--", "getent", "ahostsv4", name)
			return strings.HasPrefix(r.stdout, web+" "), r.String()
		})
	}
	for name, ip := range map[string]string{"web." + suffix: web, "db-0.db." + suffix: first} {
		eventually(t, "nslookup "+name, func() (bool, string) {
			r := k.try("", "exec", "resolver", "-c", "busybox", "--", "nslookup", "-type=a", name)
			return r.err == nil && strings.Contains(r.stdout, "Address: "+ip), r.String()
		})
	}
	k.dig([]string{first, second}, "db."+suffix)
	k.dig([]string{first}, "+search", "db-0.db")
	k.dig([]string{second}, "+tcp", "db-1.db."+suffix)
	k.dig([]string{"0_50_8080_db-0.db." + suffix + ".", "0_50_8080_db-1.db." + suffix + "."}, "_http._tcp.db."+suffix, "SRV")
	k.dig([]string{"0_100_80_web." + suffix + "."}, "_http._tcp.web."+suffix, "SRV")
	k.dig([]string{"web." + suffix + "."}, "-x", web)
	k.dig([]string{"db-0.db." + suffix + "."}, "-x", first)
	k.dig([]string{"kubernetes.default.svc.cluster.local.", (kubectl{t: t, kubeconfig: k.kubeconfig, namespace: "default"}).field("service/kubernetes", "{.spec.clusterIP}")}, "alias."+suffix)

	for name, status := range map[string]string{
		"www.example.com.":                              "NXDOMAIN", // as the lab's DNS says
		"nothing." + suffix + ".":                       "NXDOMAIN",
		"kube-dns.nowhere.svc.cluster.local.":           "NXDOMAIN",
		"metrics-server.kube-system.svc.cluster.local.": "NXDOMAIN", // the host has it
	} {
		eventually(t, status+" for "+name, func() (bool, string) {
			r := k.try("", "exec", "resolver", "-c", "debian", "--", "dig", "+time=2", "+tries=1", name)
			return strings.Contains(r.stdout, "status: "+status), r.String()
		})
	}
}

func TestNamesResolveInAPod(t *testing.T) {
	t.Parallel()
	k, _ := shared(t)
	k.apply("web.yaml", "names.yaml")
	k.findNames()
}

// Pods keep their DNS through restarts of porticod and deletions of the
// Service.
func TestDNSComesBackForRunningPods(t *testing.T) {
	t.Parallel()
	c := private(t, "dns", "dns")
	k := c.namespaceOf(t)
	k.apply("web.yaml", "names.yaml")
	k.findNames()
	system := kubectl{t: t, kubeconfig: k.kubeconfig, namespace: "kube-system"}
	address := system.field("service/kube-dns", "{.spec.clusterIP}")

	system.refused("delete", "service", "kube-dns")
	admin(t, c.namespace).run("delete", "service", "kube-dns-x-kube-system-x-"+c.name)
	k.findNames()
	if now := system.field("service/kube-dns", "{.spec.clusterIP}"); now != address {
		t.Errorf("the address was %s and is %s", address, now)
	}
	system.refused("patch", "service", "kube-dns", "--type=merge", "-p", `{"spec":{"selector":{"app":"mine"}}}`)
	k.findNames()

	if err := c.end(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := c.start(t); err != nil {
		t.Fatalf("start again: %v\n%s", err, c.tail())
	}
	k.findNames()
}

// The same names, answered by pods of the tenant's.
func TestNamesResolveThroughADeployment(t *testing.T) {
	t.Parallel()
	c := private(t, "dnspods", "dnspods")
	if err := c.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(c.dir, "portico.yaml")
	config, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const mode = "coredns:\n  mode: deployment\n  image: registry.k8s.io/coredns/coredns:v1.15.0\n  replicas: 2\n"
	writeFile(t, path, []byte(strings.Replace(string(config), "coredns:\n", mode, 1)))
	if err := c.start(t); err != nil {
		t.Fatalf("start again: %v\n%s", err, c.tail())
	}
	system := kubectl{t: t, kubeconfig: c.kubeconfig(), namespace: "kube-system"}
	eventually(t, "the Deployment", func() (bool, string) {
		r := system.try("", "get", "deployment", "coredns")
		return r.err == nil, r.stderr
	})
	system.rolledOut("deployment/coredns")
	k := c.namespaceOf(t)
	k.apply("web.yaml", "names.yaml")
	k.findNames()
}
