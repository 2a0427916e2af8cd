// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestSleep puts a cluster to sleep and comes back through the gateway: pods and
// their DNS go on meanwhile, a client sees a slow answer, and a pause stays.
func TestSleep(t *testing.T) {
	// Not parallel: every portico on this host takes a gateway that is there.
	loadImage(t)
	r := newReader(t)
	installGateway(t, r)
	r.finally(t, "portico delete dozing --ignore-not-found")
	// The lab has this image only, and no resolvers.
	r.does(t, "portico create dozing --connect=false --set sleep.afterInactivity=1h --set coredns.mode=deployment --set coredns.image=registry.k8s.io/coredns/coredns:v1.15.0 --set 'coredns.upstream={192.0.2.53}'")
	r.does(t, "(umask 077; portico connect dozing --print >dozing.kubeconfig)")
	k := "kubectl --kubeconfig dozing.kubeconfig "
	r.does(t, k+"run web "+nettool)
	r.does(t, k+"wait pod/web --for=condition=Ready --timeout "+patience.String())
	r.does(t, k+"rollout status deployment/coredns -n kube-system --timeout "+patience.String())
	r.does(t, k+"expose pod web --port 80")

	asleep := func() {
		t.Helper()
		r.does(t, "portico sleep dozing")
		r.does(t, "kubectl wait -n portico-dozing pod -l portico.dev/door=dozing --for=delete --timeout "+patience.String())
		if got := r.does(t, "portico status dozing"); !strings.Contains(got, "Sleeping since") || !strings.Contains(got, "by portico-admin") {
			t.Fatalf("status of one that sleeps:\n%s", got)
		}
	}
	asleep()
	// The tenant's pod, and its DNS, do not notice.
	pod := r.does(t, "kubectl get pods -n portico-dozing -l portico.dev/namespace=default -o name")
	r.says(t, "kubectl exec -n portico-dozing "+pod+" -- curl -s http://web.default.svc.cluster.local", welcome)

	began := time.Now()
	if got := r.does(t, k+"get pod web -o name"); got != "pod/web" {
		t.Errorf("the client that wakes it reads %q", got)
	}
	t.Logf("from the client's start to its answer: %s", time.Since(began))
	if got := r.does(t, `kubectl get statefulset dozing -n portico-dozing -o jsonpath='{.metadata.annotations.portico\.dev/woken}'`); !strings.HasSuffix(got, " connection") {
		t.Errorf("woken: %q", got)
	}
	if got := r.does(t, k+"get pod web -o 'jsonpath={.status.containerStatuses[0].restartCount}'"); got != "0" {
		t.Errorf("the pod was restarted %s times", got)
	}

	// Its own time comes.
	asleep()
	r.does(t, fmt.Sprintf("kubectl annotate statefulset dozing -n portico-dozing --overwrite portico.dev/wake-at=%s", time.Now().UTC().Format(time.RFC3339)))
	r.does(t, "kubectl wait statefulset/dozing -n portico-dozing --for=jsonpath='{.status.readyReplicas}'=1 --timeout "+patience.String())

	// A person's pause is not ended by a client.
	asleep()
	r.does(t, "portico pause dozing")
	if out, err := r.run(t.Context(), k+"get pods"); err == nil {
		t.Errorf("a client of one that is paused: %s", out)
	}
	if got := r.does(t, "kubectl get statefulset dozing -n portico-dozing -o jsonpath='{.spec.replicas}'"); got != "0" {
		t.Errorf("one that is paused has %s replicas", got)
	}
	r.does(t, "portico resume dozing")
	// No wake-up is noted, so nobody waits for the host to lead to its door again.
	r.says(t, k+"get pod web -o name", "pod/web")
}
