// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestCreateMakesItsNamespaceAndTheRelease(t *testing.T) {
	b := newBench(t)
	b.run(0, "create", "vc", "--connect=false", "--expose", "--set", "logLevel=3", "--distro", "k8s")
	ns, err := b.client.CoreV1().Namespaces().Get(t.Context(), "portico-vc", metav1.GetOptions{})
	if err != nil || ns.Annotations["portico.dev/created-for"] != "vc" {
		t.Errorf("namespace: %v, %v", ns.Annotations, err)
	}
	want := map[string]any{"logLevel": int64(3), "controlPlane": map[string]any{"service": map[string]any{"type": "LoadBalancer"}}}
	if diff := cmp.Diff(want, b.deployed().Config); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if b.out.Len() != 0 {
		t.Errorf("standard output has what nobody asked for: %s", b.out.String())
	}
}

func TestCreateIsolates(t *testing.T) {
	b := newBench(t)
	b.run(0, "create", "vc", "--connect=false", "--isolate", "--set", "isolation.resourceQuota.quota.count/pods=100")
	want := map[string]any{"isolation": map[string]any{"enabled": true, "resourceQuota": map[string]any{"quota": map[string]any{"count/pods": int64(100)}}}}
	if diff := cmp.Diff(want, b.deployed().Config); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestCreateOfAnExistingClusterChangesItOnlyWithUpgrade(t *testing.T) {
	b := newBench(t)
	b.run(0, "create", "vc", "--connect=false", "--set", "logLevel=3")
	b.run(0, "create", "vc", "--connect=false")
	b.says("unchanged")
	b.run(1, "create", "vc", "--connect=false", "--set", "logLevel=4")
	b.says("logLevel: 3 -> 4", "hint: --upgrade")
	b.run(0, "create", "vc", "--connect=false", "--upgrade", "-f", write(t, b.dir+"/values.yaml", "clusterDomain: example.org\n"))
	if diff := cmp.Diff(map[string]any{"logLevel": int64(3), "clusterDomain": "example.org"}, b.deployed().Config); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestCreateRefusesMisuseBeforeItDoesAnything(t *testing.T) {
	b := newBench(t)
	for name, args := range map[string][]string{
		"no name":               {"create"},
		"a name that is none":   {"create", "My_Cluster"},
		"two names":             {"create", "a", "b"},
		"an unknown flag":       {"create", "vc", "--isolated"},
		"an unknown distro":     {"create", "vc", "--distro", "minix"},
		"an unserved version":   {"create", "vc", "--kubernetes-version", "1.20"},
		"a set without a value": {"create", "vc", "--set", "x"},
		"a file that is none":   {"create", "vc", "-f", b.dir + "/none"},
		"a server that is none": {"create", "vc", "--server", "http://x"},
		"a role for nobody":     {"create", "vc", "--cluster-role", "view"},
		"an unknown command":    {"make", "vc"},
		"an unknown format":     {"list", "-o", "xml"},
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			b.run(2, args...)
			b.says("error: ", "hint: ")
		})
	}
	if b.power.writes != 0 {
		t.Errorf("%d writes", b.power.writes)
	}
}

func TestWordsThatWereMeantAreNamed(t *testing.T) {
	b := newBench(t)
	for want, args := range map[string][]string{
		"did you mean portico list?":     {"lsit"},
		"did you mean portico describe?": {"descrbe", "vc"},
		"did you mean --isolate?":        {"create", "vc", "--isolated"},
		"did you mean --timeout?":        {"create", "vc", "--tiemout", "3s"},
		"see portico --help":             {"frobnicate"},
		"see portico create --help":      {"create", "vc", "--frobnicate"},
	} {
		b.run(2, args...)
		b.says("hint: " + want)
	}
}

func TestSetRefusesKeysThatAreNone(t *testing.T) {
	b := newBench(t)
	for want, set := range map[string]string{
		"sleep.afterInactivty: no such key; did you mean sleep.afterInactivity?": "sleep.afterInactivty=3m",
		"--set a: no such key\n": "a.b=c",
		"controlPlane.statefulSet.resources (here controlPlane.resources): keys of vcluster": "controlPlane.statefulSet.resources.limits.memory=1Gi",
	} {
		b.run(2, "create", "vc", "--connect=false", "--set", set)
		b.says(want, "hint: ")
	}
	if b.power.writes != 0 {
		t.Errorf("%d writes", b.power.writes)
	}
}

func TestCreateAcceptsWhatIsServed(t *testing.T) {
	for _, args := range [][]string{{"--kubernetes-version", served()}, {"--kubernetes-version", served()[1:5]}, {"--distro", "k3s"}} {
		b := newBench(t)
		b.run(0, append([]string{"create", "vc", "--connect=false"}, args...)...)
	}
}

// TestCreateIsFinishedAfterAKillAtAnyWrite kills a creation before each of its
// writes, and runs the same command again.
func TestCreateIsFinishedAfterAKillAtAnyWrite(t *testing.T) {
	whole := newBench(t)
	whole.run(0, "create", "vc", "--connect=false", "--set", "logLevel=3")
	if whole.power.writes < 3 {
		t.Fatalf("a creation has %d writes, want the namespace and two records", whole.power.writes)
	}
	for cut := 1; cut <= whole.power.writes; cut++ {
		t.Run(fmt.Sprintf("before write %d", cut), func(t *testing.T) {
			b := newBench(t)
			b.power.cutBefore = cut
			b.app.run(t.Context(), []string{"create", "vc", "--connect=false", "--wait=false", "--set", "logLevel=3"})
			b.power.cutBefore = 0
			b.run(0, "create", "vc", "--connect=false", "--set", "logLevel=3")
			if diff := cmp.Diff(map[string]any{"logLevel": int64(3)}, b.deployed().Config); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDeleteIsFinishedAfterAKillAtAnyWrite does so with a deletion.
func TestDeleteIsFinishedAfterAKillAtAnyWrite(t *testing.T) {
	data := func() *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
			Namespace: "portico-vc", Name: "data-vc-0", Labels: map[string]string{"portico.dev/door": "vc"},
		}}
	}
	created := func(t *testing.T) *bench {
		b := newBench(t, data())
		b.run(0, "create", "vc", "--connect=false")
		b.power.writes = 0
		return b
	}
	whole := created(t)
	whole.run(0, "delete", "vc")
	if whole.power.writes < 4 {
		t.Fatalf("a deletion has %d writes, want two records, the claim and the namespace", whole.power.writes)
	}
	for cut := 1; cut <= whole.power.writes; cut++ {
		t.Run(fmt.Sprintf("before write %d", cut), func(t *testing.T) {
			b := created(t)
			b.power.cutBefore = cut
			b.run(1, "delete", "vc")
			b.power.cutBefore = 0
			b.run(0, "delete", "vc")
			if b.deployed() != nil {
				t.Error("the release is still there")
			}
			if _, err := b.client.CoreV1().Namespaces().Get(t.Context(), "portico-vc", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				t.Errorf("the namespace is still there: %v", err)
			}
			claims, err := b.client.CoreV1().PersistentVolumeClaims("portico-vc").List(t.Context(), metav1.ListOptions{})
			if err != nil || len(claims.Items) != 0 {
				t.Errorf("the data is still there: %v, %v", claims.Items, err)
			}
			b.run(1, "delete", "vc")
			b.says("there is no such virtual cluster", "hint: ")
			b.run(0, "delete", "vc", "--ignore-not-found")
		})
	}
}

func TestDeleteKeepsWhatItIsToldToAndWhatIsNotIts(t *testing.T) {
	data := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Namespace: "portico-vc", Name: "data-vc-0", Labels: map[string]string{"portico.dev/door": "vc"},
	}}
	b := newBench(t, data)
	b.run(0, "create", "vc", "--connect=false")
	b.run(0, "delete", "vc", "--keep-pvc")
	b.says("kept the data: PersistentVolumeClaim data-vc-0", "kept the host namespace portico-vc: in it are persistentvolumeclaim data-vc-0")
	if _, err := b.client.CoreV1().PersistentVolumeClaims("portico-vc").Get(t.Context(), "data-vc-0", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	b.run(0, "delete", "vc") // the rest

	b = newBench(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "portico-vc"}})
	b.run(0, "create", "vc", "--connect=false")
	b.run(0, "delete", "vc")
	if _, err := b.client.CoreV1().Namespaces().Get(t.Context(), "portico-vc", metav1.GetOptions{}); err != nil {
		t.Errorf("a namespace that was there before is gone: %v", err)
	}
}

func TestDeleteRemovesWhatNoChartKnows(t *testing.T) {
	pods := corev1.SchemeGroupVersion.WithResource("pods")
	b := newBench(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "portico-vc"}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "portico-vc", Name: "vc.anchor", Labels: map[string]string{"portico.dev/cluster": "vc"}}})
	tenants := &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "portico-vc", Name: "web-x-default-x-vc", Labels: map[string]string{"portico.dev/cluster": "vc", "portico.dev/namespace": "default"}},
	}
	if err := b.metadata.Tracker().Create(pods, tenants, "portico-vc"); err != nil {
		t.Fatal(err)
	}
	// Neither a release nor a workload: an earlier deletion was cut off, or
	// somebody ran helm uninstall without hooks.
	b.run(0, "delete", "vc")
	if _, err := b.metadata.Tracker().Get(pods, "portico-vc", "web-x-default-x-vc"); !apierrors.IsNotFound(err) {
		t.Errorf("a pod of the tenant is still there: %v", err)
	}
}

func TestListIsStableAsJSON(t *testing.T) {
	b := newBench(t)
	if got := b.run(0, "list", "-o", "json"); got != "[]\n" {
		t.Errorf("no clusters: %q", got)
	}
	b.run(0, "create", "vc", "--connect=false")
	var got []map[string]any
	if err := json.Unmarshal([]byte(b.run(0, "list", "-A", "-o", "json")), &got); err != nil {
		t.Fatal(err)
	}
	want := []map[string]any{{
		"name": "vc", "namespace": "portico-vc", "state": "Running", "version": "dev", "created": got[0]["created"], "ageSeconds": 600.0,
		"replicas": 1.0, "readyReplicas": 1.0, "workload": "StatefulSet", "hostContext": "host", "connected": false,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if got := b.run(0, "ls"); got != "NAME   NAMESPACE    STATUS    VERSION   CONNECTED   AGE\nvc     portico-vc   Running   dev       -           10m\n" {
		t.Errorf("table:\n%s", got)
	}
}

func TestThePluginOfKubectlSaysItsOwnName(t *testing.T) {
	for program, want := range map[string]string{
		"/usr/bin/kubectl-portico": "kubectl portico", "kubectl-portico.exe": "kubectl portico", "./portico": "portico", "renamed": "portico",
	} {
		if got := commandName(program); got != want {
			t.Errorf("%s: %q, want %q", program, got, want)
		}
	}
}
