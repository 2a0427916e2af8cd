// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// six is the Deployment of the chapter about placement: all its pods want one
// label of a node.
const six = `apiVersion: apps/v1
kind: Deployment
metadata: {name: nginx-deployment, labels: {app: nginx}}
spec:
  replicas: 6
  selector: {matchLabels: {app: nginx}}
  template:
    metadata: {labels: {app: nginx}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: nginx
        image: docker.io/library/nginx:1.27
        ports: [{containerPort: 80}]
      nodeSelector: {disktype: ssd}
`

// A tenant labels a node of theirs, and the pods go there and nowhere else, by
// the scheduler inside. Then the node is drained, and comes back.
func TestSeedPlacement(t *testing.T) {
	t.Parallel()
	r := newSeedReader(t, "schedule.yaml")
	r.finally(t, "portico delete schedule-vcluster --ignore-not-found")
	r.does(t, "portico create schedule-vcluster --connect=false -f schedule.yaml")
	host := strings.Fields(r.does(t, "kubectl get nodes -o name"))
	const inside = "portico connect schedule-vcluster -- "
	r.says(t, inside+"kubectl get nodes --no-headers", strings.TrimPrefix(host[0], "node/"))
	nodes := strings.Fields(lastLine(r.does(t, inside+"kubectl get nodes -o 'jsonpath={.items[*].metadata.name}'")))
	if len(nodes) != len(host) || len(nodes) < 2 {
		t.Fatalf("nodes inside: %v, on the host: %v", nodes, host)
	}

	writeFile(t, filepath.Join(r.home, "deployment.yaml"), []byte(six))
	r.does(t, inside+"kubectl apply -f deployment.yaml")
	r.says(t, inside+"kubectl get events", "didn't match Pod's node affinity/selector")
	r.does(t, inside+"kubectl label node "+nodes[0]+" disktype=ssd")
	r.does(t, inside+"kubectl rollout status deployment/nginx-deployment --timeout "+patience.String())
	const where = "kubectl get pods -l app=nginx -o 'jsonpath={.items[*].spec.nodeName}'"
	if got := strings.Fields(lastLine(r.does(t, inside+where))); len(got) != 6 || slices.ContainsFunc(got, func(n string) bool { return n != nodes[0] }) {
		t.Errorf("the pods are on %v, want all six on %s", got, nodes[0])
	}
	// The host knows nothing of the label.
	if got := r.does(t, "kubectl get nodes -l disktype=ssd -o name"); strings.Contains(got, "node/") {
		t.Errorf("nodes of the host with the tenant's label: %s", got)
	}

	r.does(t, inside+"kubectl label node "+nodes[1]+" disktype=ssd")
	r.does(t, inside+"kubectl drain "+nodes[0]+" --ignore-daemonsets --delete-emptydir-data --timeout "+patience.String())
	r.does(t, inside+"kubectl rollout status deployment/nginx-deployment --timeout "+patience.String())
	if got := strings.Fields(lastLine(r.does(t, inside+where))); slices.Contains(got, nodes[0]) {
		t.Errorf("after a drain of %s the pods are on %v", nodes[0], got)
	}
	if got := r.does(t, "kubectl get "+host[0]+" -o 'jsonpath={.spec.unschedulable}'"); got != "" {
		t.Errorf("the host's node is unschedulable: %s", got)
	}
	r.does(t, inside+"kubectl uncordon "+nodes[0])
	// A taint of the tenant's that evicts: the pods without a toleration go.
	r.does(t, inside+"kubectl taint node "+nodes[1]+" tenant=away:NoExecute")
	r.does(t, inside+"kubectl rollout status deployment/nginx-deployment --timeout "+patience.String())
	r.says(t, inside+where+"; echo; echo done", strings.TrimSpace(strings.Repeat(nodes[0]+" ", 6)))
}

// An isolated cluster has the limits that people know from vcluster, every value
// of them, and a pod of it is told why it is refused.
func TestSeedIsolation(t *testing.T) {
	t.Parallel()
	r := newSeedReader(t)
	r.finally(t, "portico delete isolate-vcluster --ignore-not-found")
	r.does(t, "portico create isolate-vcluster --isolate --connect=false")
	const namespace, inside = "portico-isolate-vcluster", "portico connect isolate-vcluster -- "
	t.Cleanup(func() {
		if t.Failed() {
			out, err := r.run(context.Background(), "kubectl get pods,events,networkpolicies,resourcequotas -o wide -n "+namespace)
			t.Logf("host namespace: %v\n%s", err, out)
		}
	})

	hard := r.does(t, "kubectl get resourcequota isolate-vcluster-quota -n "+namespace+" -o 'go-template={{range $k, $v := .spec.hard}}{{$k}}={{$v}} {{end}}'")
	const seeds = "count/configmaps=100 count/endpoints=40 count/persistentvolumeclaims=20 count/pods=20 count/secrets=100 count/services=20 " +
		"limits.cpu=20 limits.ephemeral-storage=160Gi limits.memory=40Gi requests.cpu=10 requests.ephemeral-storage=60Gi requests.memory=20Gi " +
		"requests.storage=100Gi services.loadbalancers=1 services.nodeports=0"
	if hard != seeds {
		t.Errorf("quota:\n%s\nwant\n%s", hard, seeds)
	}
	limits := r.does(t, "kubectl get limitrange isolate-vcluster-limit-range -n "+namespace+" -o 'jsonpath={.spec.limits[0].default.cpu} {.spec.limits[0].default.memory} {.spec.limits[0].defaultRequest.cpu} {.spec.limits[0].defaultRequest.memory}'")
	if limits != "1 512Mi 100m 128Mi" {
		t.Errorf("limit range: %s", limits)
	}
	if got := strings.Fields(r.does(t, "kubectl get networkpolicies -n "+namespace+" -o name")); len(got) != 2 {
		t.Errorf("network policies: %v, want that of the control plane and that of the workloads", got)
	}

	r.does(t, inside+"kubectl create deployment nettool-virtual "+nettool)
	r.does(t, inside+"kubectl rollout status deployment/nettool-virtual --timeout "+patience.String())
	// The host's defaults are shown inside.
	r.says(t, inside+"kubectl get pods -o 'jsonpath={.items[0].spec.containers[0].resources.limits.memory}'", "512Mi")

	for what, c := range map[string]struct{ overrides, refusal string }{
		"a privileged container": {`{"spec":{"containers":[{"name":"p","image":"docker.io/library/busybox:1.37","securityContext":{"privileged":true}}]}}`, "violates PodSecurity"},
		"a path of the node":     {`{"spec":{"containers":[{"name":"p","image":"docker.io/library/busybox:1.37"}],"volumes":[{"name":"v","hostPath":{"path":"/"}}]}}`, "violates PodSecurity"},
		"more than the quota":    {`{"spec":{"containers":[{"name":"p","image":"docker.io/library/busybox:1.37","resources":{"requests":{"cpu":"11"},"limits":{"cpu":"11"}}}]}}`, "exceeded quota"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		out, err := r.run(ctx, inside+fmt.Sprintf("kubectl run p --image=docker.io/library/busybox:1.37 --overrides '%s'", c.overrides))
		cancel()
		if err == nil || !strings.Contains(out, c.refusal) || strings.Contains(out, "-x-") || strings.Contains(out, namespace) {
			t.Errorf("%s: %v\n%s\nwant a refusal with %q and without a name of the host", what, err, out, c.refusal)
		}
	}
}
