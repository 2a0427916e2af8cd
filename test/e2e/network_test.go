// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestServiceIsReachedByItsClusterIP(t *testing.T) {
	t.Parallel()
	k, c := shared(t)
	k.apply("web.yaml", "shell.yaml")
	k.rolledOut("deployment/web")
	k.waitFor("condition=Ready", "pod/shell")
	ip := k.field("service/web", "{.spec.clusterIP}")
	if host := c.host(t).field("service/"+c.hostName(k.namespace, "web"), "{.spec.clusterIP}"); host != ip {
		t.Errorf("cluster IP is %s inside and %s on the host", ip, host)
	}
	// kube-proxy learns of ready pods a moment after we do.
	eventually(t, "page of the service", func() (bool, string) {
		r := k.try("", "exec", "shell", "--", "wget", "-q", "-O-", "-T", "2", "http://"+ip)
		return r.err == nil && strings.Contains(r.stdout, "Welcome to nginx!"), r.String()
	})
	if n := len(strings.Fields(k.run("get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o", "jsonpath={.items[*].endpoints[*].addresses[0]}"))); n != 2 {
		t.Errorf("the service has %d endpoints inside, want 2", n)
	}
}

// The endpoints of a Service without selector are the tenant's to write. They
// reach the host's nodes.
func TestServiceWithEndpointsOfTheTenants(t *testing.T) {
	t.Parallel()
	k, _ := shared(t)
	k.apply("web.yaml", "shell.yaml")
	k.rolledOut("deployment/web")
	k.waitFor("condition=Ready", "pod/shell")
	k.applyWith("manual.yaml", "ADDRESS", k.run("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].status.podIP}"))
	url := "http://" + k.field("service/manual", "{.spec.clusterIP}") + ":81"
	eventually(t, "page of the service", func() (bool, string) {
		r := k.try("", "exec", "shell", "--", "wget", "-q", "-O-", "-T", "2", url)
		return r.err == nil && strings.Contains(r.stdout, "Welcome to nginx!"), r.String()
	})
}

// client-go's in-cluster configuration is a token, a CA and an address. All
// three are the virtual cluster's.
func TestPodReachesItsOwnAPI(t *testing.T) {
	t.Parallel()
	k, _ := shared(t)
	k.run("create", "rolebinding", "look", "--clusterrole=view", "--serviceaccount="+k.namespace+":default")
	k.apply("caller.yaml")
	k.waitFor("jsonpath={.status.phase}=Succeeded", "pod/caller")
	var pod corev1.Pod
	if err := json.Unmarshal([]byte(k.run("logs", "caller")), &pod); err != nil {
		t.Fatalf("answer to the pod: %v\n%s", err, k.run("logs", "caller"))
	}
	if pod.Name != "caller" || pod.Namespace != k.namespace || string(pod.UID) != k.field("pod/caller", "{.metadata.uid}") {
		t.Errorf("the pod was told that it is %s/%s with uid %s", pod.Namespace, pod.Name, pod.UID)
	}
}
