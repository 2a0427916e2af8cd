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

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/cmd/porticod/rights"
)

// mapped starts a cluster of its own with mappings, in which NAMESPACE stands
// for a host namespace next to the cluster's. Its account has the Roles that
// porticod rights prints for it, and nothing more.
func mapped(t *testing.T, suffix, mappings string) (c *cluster, team kubectl) {
	t.Helper()
	team = admin(t, hostNamespace(suffix+"-team"))
	admin(t, "").run("create", "namespace", team.namespace)
	afterwards(t, "delete", "namespace", team.namespace)
	c = private(t, "net", suffix)
	appendConfig(t, c, strings.ReplaceAll(mappings, "NAMESPACE", team.namespace))
	grantMapped(t, c)
	if err := c.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.start(t); err != nil {
		t.Fatalf("start again: %v\n%s", err, c.tail())
	}
	return c, team
}

func appendConfig(t *testing.T, c *cluster, more string) {
	t.Helper()
	path := filepath.Join(c.dir, "portico.yaml")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, append(before, more...))
}

// grantMapped applies the Roles in other namespaces that the configuration of a
// cluster needs.
func grantMapped(t *testing.T, c *cluster) {
	t.Helper()
	cfg, err := config.Read(filepath.Join(c.dir, "portico.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	grants := rights.For(cfg)
	if r := admin(t, "").try(rights.Manifest("porticod", c.namespace, grants), "apply", "-f", "-"); r.err != nil {
		t.Fatal(r)
	}
	for _, namespace := range rights.Namespaces(grants) {
		admin(t, namespace).run("create", "rolebinding", c.namespace+"-porticod", "--role="+c.namespace+"-porticod", "--serviceaccount="+c.namespace+":porticod")
	}
}

// gets waits until a pod has the page of a host name.
func (k kubectl) gets(pod, host string) {
	k.t.Helper()
	eventually(k.t, "page of "+host, func() (bool, string) {
		r := k.try("", "exec", pod, "--", "wget", "-q", "-O-", "-T", "2", "http://"+host)
		return r.err == nil && strings.Contains(r.stdout, "Welcome to nginx!"), r.String()
	})
}

// A Service of the host is reached from a pod of the cluster, and a Service of
// the cluster from a pod of the host, each by its name, when the Service is
// exposed, made again, scaled to other pods, and headless.
func TestServicesAreMappedBothWays(t *testing.T) {
	t.Parallel()
	c, team := mapped(t, "mapped", `
mapServices:
  fromHost:
  - {from: NAMESPACE/nettool-host, to: default/nettool-host}
  - {from: NAMESPACE/nettool-headless, to: default/nettool-headless}
  fromVirtual:
  - {from: default/nettool-virtual, to: nettool-virtual}
`)
	k := kubectl{t: t, kubeconfig: c.kubeconfig(), namespace: "default"}
	eventually(t, "default service account", func() (bool, string) {
		r := k.try("", "get", "serviceaccount", "default")
		return r.err == nil, r.stderr
	})
	for name, side := range map[string]kubectl{"nettool-host": team, "nettool-virtual": k} {
		side.run("create", "deployment", name, "--image=docker.io/library/nginx:1.27")
		side.apply("shell.yaml")
	}
	eventually(t, "an Event that says what is missing", func() (bool, string) {
		r := k.try("", "get", "events", "--field-selector=reason=MappedServiceMissing")
		return strings.Contains(r.stdout, "nettool-host"), r.String()
	})
	team.run("expose", "deployment", "nettool-host", "--port=80", "--target-port=80")
	team.run("expose", "deployment", "nettool-host", "--name=nettool-headless", "--port=80", "--target-port=80", "--cluster-ip=None")
	k.run("expose", "deployment", "nettool-virtual", "--port=80", "--target-port=80")
	for name, side := range map[string]kubectl{"nettool-host": team, "nettool-virtual": k} {
		side.rolledOut("deployment/" + name)
		side.waitFor("condition=Ready", "pod/shell")
	}

	k.gets("shell", "nettool-host")
	k.gets("shell", "nettool-host.default")
	k.gets("shell", "nettool-headless")
	team.gets("shell", "nettool-virtual."+c.namespace)
	if ip := c.host(t).field("service/nettool-virtual", "{.spec.clusterIP}"); ip == "" || ip == k.field("service/nettool-virtual", "{.spec.clusterIP}") {
		t.Errorf("the host Service has the address %q", ip)
	}

	// Made again, with another port and another ClusterIP; and with other pods.
	team.run("delete", "service", "nettool-host")
	eventually(t, "the mapped Service is gone", func() (bool, string) {
		r := k.try("", "get", "service", "nettool-host")
		return r.err != nil, r.String()
	})
	team.run("expose", "deployment", "nettool-host", "--port=8080", "--target-port=80")
	k.gets("shell", "nettool-host:8080")
	k.run("delete", "service", "nettool-virtual")
	eventually(t, "the host's Service is gone", func() (bool, string) {
		r := c.host(t).try("", "get", "service", "nettool-virtual")
		return r.err != nil, r.String()
	})
	k.run("expose", "deployment", "nettool-virtual", "--port=8080", "--target-port=80")
	team.gets("shell", "nettool-virtual."+c.namespace+":8080")
	for name, side := range map[string]kubectl{"nettool-host": team, "nettool-virtual": k} {
		side.run("rollout", "restart", "deployment/"+name)
		side.rolledOut("deployment/" + name)
	}
	k.gets("shell", "nettool-host:8080")
	team.gets("shell", "nettool-virtual."+c.namespace+":8080")
}
