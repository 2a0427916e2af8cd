// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"
)

// TestNested creates a cluster inside of a cluster, by the same command and from
// within the outer one, as on any host. Its porticod is a pod of the outer
// cluster, its tenant's pods run on the kubelets of the host of both, and names
// resolve there.
func TestNested(t *testing.T) {
	t.Parallel()
	loadImage(t)
	r := newReader(t)
	host := r.does(t, "kubectl config current-context")
	r.finally(t, "portico delete outer --context "+host+" --ignore-not-found")
	r.does(t, "portico create outer") // and connects to it
	t.Cleanup(func() {
		if t.Failed() {
			out, err := r.run(context.Background(), "kubectl get pods,pvc,events -A; kubectl logs -n portico-inner inner-0 --tail=50")
			t.Logf("the outer cluster: %v\n%s", err, out)
		}
	})
	outer := r.does(t, "kubectl config current-context")
	r.does(t, "portico create inner --connect=false")
	if got := r.does(t, "kubectl get pod inner-0 -n portico-inner -o jsonpath={.status.phase}"); got != "Running" {
		t.Errorf("the inner porticod is %s in the outer cluster", got)
	}

	r.does(t, "portico connect inner") // its context's host is the outer cluster
	if got := r.does(t, "portico list -o json"); strings.Count(got, `"name": "`) != 2 {
		t.Errorf("from within, the clusters are\n%s", got)
	}
	r.does(t, "kubectl create deployment web "+nettool)
	r.does(t, "kubectl expose deployment web --port 80")
	r.does(t, "kubectl rollout status deployment/web --timeout "+patience.String())
	r.does(t, "kubectl run asker "+nettool)
	r.does(t, "kubectl wait pod/asker --for=condition=Ready --timeout "+patience.String())
	r.says(t, "kubectl exec asker -- curl -s web", welcome)
	r.says(t, "kubectl exec asker -- cat /var/run/secrets/kubernetes.io/serviceaccount/namespace", "default")
	// The innermost API, by the name that every pod knows.
	r.says(t, `kubectl exec asker -- sh -c 'curl -s --cacert /var/run/secrets/kubernetes.io/serviceaccount/ca.crt https://kubernetes.default.svc/version'`, "gitVersion")
	r.says(t, "kubectl logs deployment/web --tail=-1", "GET / HTTP/1.1")

	// Each host shows the pod under its own name.
	uid := r.does(t, "kubectl get pod asker -o jsonpath={.metadata.uid}")
	for level, command := range map[string]string{
		"the outer cluster": "kubectl --context " + outer + " get pods -n portico-inner -l portico.dev/cluster=inner -o 'jsonpath={.items[*].metadata.uid}'",
		"the host":          "kubectl --context " + host + " get pods -n portico-outer -l portico.dev/cluster=outer -o 'jsonpath={.items[*].metadata.uid}'",
	} {
		if got := r.does(t, command); !strings.Contains(got, uid) {
			t.Errorf("in %s, the pods are %s, want %s among them", level, got, uid)
		}
	}
	r.does(t, "portico delete inner")
	if got := r.does(t, "kubectl config current-context"); got != outer {
		t.Errorf("after the deletion, the context is %s, want %s", got, outer)
	}
	if got := r.does(t, "kubectl get namespaces -o name"); strings.Contains(got, "portico-inner") {
		t.Errorf("the outer cluster has the namespaces\n%s", got)
	}
}
