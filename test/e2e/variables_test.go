// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// The same pods run on the host and inside. Their containers find the same
// variables at their first start, and at the next one, when a ConfigMap and a
// key of another have come, a Service has come and one has gone.
func TestServiceVariables(t *testing.T) {
	t.Parallel()
	k, c := shared(t)
	host := admin(t, c.namespace+"-control")
	admin(t, "").run("create", "namespace", host.namespace)
	afterwards(t, "delete", "namespace", host.namespace, "--wait=false")

	both := []kubectl{host, k}
	for _, at := range both {
		at.apply("variables.yaml")
	}
	for _, at := range both {
		at.waitFor("condition=Ready", "pod/reader", "pod/unlinked")
	}
	compare := func(when string, again bool) {
		t.Helper()
		want, got := variablesOf(host, again), variablesOf(k, again)
		for _, container := range slices.Sorted(maps.Keys(want)) {
			if want[container] != got[container] {
				t.Errorf("%s, %s finds\n%s\nand on the host\n%s", when, container, got[container], want[container])
			}
		}
	}
	compare("at the first start", false)

	for _, at := range both {
		at.run("create", "configmap", "later", "--from-literal=CACHE_PORT=6380", "--from-literal=FROM=later")
		at.run("patch", "configmap", "grow", "-p", `{"data":{"CACHE_PORT":"6381"}}`)
		at.run("create", "service", "clusterip", "later", "--tcp=81")
		at.run("delete", "service", "back")
	}
	// A kubelet hears of it by a watch, here as on the host; nothing says when.
	eventually(t, "the Services of now in the host's ConfigMap", func() (bool, string) {
		out := c.host(t).run("get", "configmaps", "-l", "portico.dev/composed=service-variables,portico.dev/namespace="+k.namespace, "-o", "jsonpath={.items[*].data}")
		return strings.Contains(out, "LATER_SERVICE_HOST") && !strings.Contains(out, "BACK_SERVICE_HOST"), out
	})
	for _, at := range both {
		for _, container := range []string{"first", "optional", "grow"} {
			at.run("exec", "reader", "-c", container, "--", "touch", "/tmp/again")
		}
	}
	compare("at the next start", true)

	if pod := k.run("get", "pods", "-o", "yaml"); strings.Contains(pod, "service-variables") {
		t.Errorf("the tenant sees:\n%s", pod)
	}
}

// variablesOf returns the logs of the containers, with the addresses of Services
// replaced by their names: these differ. With again, it waits for the second
// start of those that start again.
func variablesOf(k kubectl, again bool) map[string]string {
	k.t.Helper()
	var words []string
	for _, s := range k.names("services") {
		words = append(words, k.field("service/"+s, "{.spec.clusterIP}"), s)
	}
	out := map[string]string{}
	for _, of := range []string{"reader prepare", "reader first", "reader optional", "reader grow", "unlinked first"} {
		pod, container, _ := strings.Cut(of, " ")
		eventually(k.t, "the report of "+of, func() (bool, string) {
			started := k.field("pod/"+pod, `{.status.containerStatuses[?(@.name=="`+container+`")].restartCount}`)
			if log := k.run("logs", pod, "-c", container); strings.Contains(log, "arguments") || container == "prepare" {
				out[of] = strings.NewReplacer(words...).Replace(log)
				return !again || started == "1" || pod == "unlinked" || container == "prepare", log
			}
			return false, started
		})
	}
	address := k.run("exec", "unlinked", "--", "sh", "-c", "echo $KUBERNETES_SERVICE_HOST")
	for of := range out {
		out[of] = strings.ReplaceAll(out[of], address, "kubernetes")
	}
	return out
}
