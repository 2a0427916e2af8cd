// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

func TestDeploymentRollsOut(t *testing.T) {
	t.Parallel()
	k, c := shared(t)
	k.apply("web.yaml")
	k.rolledOut("deployment/web")

	virtual := k.names("pods")
	if len(virtual) != 2 {
		t.Fatalf("virtual pods: %v, want 2", virtual)
	}
	host := c.host(t)
	for _, name := range virtual {
		if phase := host.field("pod/"+c.hostName(k.namespace, name), "{.status.phase}"); phase != string(corev1.PodRunning) {
			t.Errorf("host pod of %s is %s", name, phase)
		}
		if v, h := k.field("pod/"+name, "{.metadata.uid}"), host.field("pod/"+c.hostName(k.namespace, name), "{.metadata.uid}"); v != h {
			t.Errorf("pod %s has uid %s inside and %s on the host", name, v, h)
		}
	}
	if found := host.names("deployments,replicasets"); len(found) > 0 {
		t.Errorf("on the host: %v, want no Deployment and no ReplicaSet", found)
	}
	if out := admin(t, "").refused("get", "namespace", k.namespace); !strings.Contains(out, "not found") {
		t.Errorf("virtual namespace on the host: %s", out)
	}
}

func TestRollingUpdateAndUndo(t *testing.T) {
	t.Parallel()
	k, c := shared(t)
	k.apply("web.yaml")
	k.rolledOut("deployment/web")
	images := func() []string {
		out := strings.Fields(c.host(t).run("get", "pods", "-l", "portico.dev/namespace="+k.namespace, "-o", "jsonpath={.items[*].spec.containers[*].image}"))
		slices.Sort(out)
		return slices.Compact(out)
	}
	all := func(image string) {
		t.Helper()
		eventually(t, "only "+image+" on the host", func() (bool, string) {
			got := images()
			return slices.Equal(got, []string{image}), strings.Join(got, " ")
		})
	}
	k.run("set", "image", "deployment/web", "nginx=docker.io/library/nginx:1.28")
	k.rolledOut("deployment/web")
	all("docker.io/library/nginx:1.28")
	k.run("rollout", "undo", "deployment/web")
	k.rolledOut("deployment/web")
	all("docker.io/library/nginx:1.27")
	if got := k.field("deployment/web", "{.status.availableReplicas}"); got != "2" {
		t.Errorf("available replicas: %s, want 2", got)
	}
}

// A Job counts its pods by a finalizer that it puts on them. The finalizer is
// the tenant's, so the host must not have it, and pods must not get stuck.
func TestJobCompletes(t *testing.T) {
	t.Parallel()
	k, c := shared(t)
	k.apply("job.yaml")
	k.waitFor("condition=Complete", "job/work")
	var job batchv1.Job
	k.object(&job, "job/work")
	if job.Status.Succeeded != 3 || job.Status.Failed != 0 || job.Status.Active != 0 {
		t.Errorf("status: %+v, want 3 succeeded", job.Status)
	}
	for _, pod := range k.names("pods") {
		if f := k.field("pod/"+pod, "{.metadata.finalizers}"); f != "" {
			t.Errorf("pod %s still has finalizers %s", pod, f)
		}
		if f := c.host(t).field("pod/"+c.hostName(k.namespace, pod), "{.metadata.finalizers}"); f != "" {
			t.Errorf("host pod of %s still has finalizers %s", pod, f)
		}
		if out := k.run("logs", pod); !strings.HasPrefix(out, "done by work-") {
			t.Errorf("pod %s said %q", pod, out)
		}
	}
	k.run("delete", "job/work")
	eventually(t, "pods of the job gone", func() (bool, string) {
		left := k.names("pods")
		return len(left) == 0, strings.Join(left, " ")
	})
}

// Each pod of an indexed Job knows its number, by name and by environment.
func TestIndexedJobNumbersItsPods(t *testing.T) {
	t.Parallel()
	k, _ := shared(t)
	k.apply("indexed.yaml")
	k.waitFor("condition=Complete", "job/indexed")
	said := strings.Split(k.run("logs", "-l", "job-name=indexed"), "\n")
	slices.Sort(said)
	if want := []string{"0 indexed-0", "1 indexed-1", "2 indexed-2"}; !slices.Equal(said, want) {
		t.Errorf("the pods said %q, want %q", said, want)
	}
}

func TestEvictionHonoursDisruptionBudget(t *testing.T) {
	t.Parallel()
	k, _ := shared(t)
	k.apply("web.yaml", "budget.yaml")
	k.rolledOut("deployment/web")
	k.waitFor("jsonpath={.status.currentHealthy}=2", "pdb/web")
	pod := k.names("pods")[0]
	evict := func() result {
		return k.try(`{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"`+pod+`","namespace":"`+k.namespace+`"}}`,
			"create", "--raw", "/api/v1/namespaces/"+k.namespace+"/pods/"+pod+"/eviction", "-f", "-")
	}
	if r := evict(); r.err == nil || !strings.Contains(r.stderr, "disruption budget") {
		t.Fatalf("eviction against the budget: %v", r)
	}
	k.run("patch", "pdb/web", "--type=merge", "-p", `{"spec":{"minAvailable":1}}`)
	k.waitFor("jsonpath={.status.disruptionsAllowed}=1", "pdb/web")
	if r := evict(); r.err != nil {
		t.Fatalf("eviction within the budget: %v", r)
	}
	k.waitFor("delete", "pod/"+pod)
	k.rolledOut("deployment/web")
}
