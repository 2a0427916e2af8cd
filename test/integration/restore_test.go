// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"portico.dev/portico/test/embedded"
)

// TestRestoreDrill is the drill of docs/operations.md: a snapshot, the loss of the
// store, and a restore. Everything is there afterwards, as the same objects, and
// the pods that ran meanwhile have not been touched.
func TestRestoreDrill(t *testing.T) {
	c := newCluster(t)
	ctx := t.Context()
	c.CreateNamespace("a")
	if _, err := c.Virtual.CoreV1().ConfigMaps("a").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Virtual.CoreV1().Secrets("a").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "password"}, Data: map[string][]byte{"a": []byte("b")}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.CreateService("a", "web", corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}}})
	labels := map[string]string{"app": "web"}
	pod := embedded.Pod("unused", labels)
	pod.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "password"}}}}
	if _, err := c.Virtual.AppsV1().Deployments("a").Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](2), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod.Spec},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ready := func(ctx context.Context) (bool, string) {
		d, err := c.Virtual.AppsV1().Deployments("a").Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return d.Status.ReadyReplicas == 2 && d.Status.ObservedGeneration == d.Generation, fmt.Sprintf("%+v", d.Status)
	}
	embedded.Eventually(t, "ready Deployment", ready)
	before := identities(t, c)

	file := filepath.Join(t.TempDir(), "snapshot")
	if _, errOut, code := porticod(t, "snapshot", "save", c.Dir, file); code != 0 {
		t.Fatalf("save: %s", errOut)
	}
	if out, errOut, code := porticod(t, "check", file); code != 0 {
		t.Fatalf("check: %s%s", out, errOut)
	}
	c.Kill()
	lose(t, c)
	restoreInto(t, c, file)

	embedded.Eventually(t, "ready Deployment", ready)
	if d := cmp.Diff(before, identities(t, c)); d != "" {
		t.Errorf("objects before the loss and after the restore (-before +after):\n%s", d)
	}
	// The controllers work: a pod that goes is replaced.
	if err := c.Virtual.AppsV1().ReplicaSets("a").DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "new pods", func(ctx context.Context) (bool, string) {
		pods, err := c.Virtual.CoreV1().Pods("a").List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		fresh := 0
		for i := range pods.Items {
			if p := &pods.Items[i]; before["Pod "+p.Name] == "" && p.Status.Phase == corev1.PodRunning {
				fresh++
			}
		}
		return fresh == 2, fmt.Sprintf("%d new pods", fresh)
	})
}

// lose removes all data of a cluster that does not run, but for its configuration.
func lose(t *testing.T, c *cluster) {
	t.Helper()
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if path := filepath.Join(c.Dir, e.Name()); path != c.ConfigPath() {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// identities are the uids of the objects of namespace a, with the addresses of
// Services and pods.
func identities(t *testing.T, c *cluster) map[string]string {
	t.Helper()
	ctx, all := t.Context(), map[string]string{}
	note := func(kind string, m *metav1.ObjectMeta, more string) {
		all[kind+" "+m.Name] = string(m.UID) + " " + more
	}
	core := c.Virtual.CoreV1()
	pods, err1 := core.Pods("a").List(ctx, metav1.ListOptions{})
	services, err2 := core.Services("a").List(ctx, metav1.ListOptions{})
	secrets, err3 := core.Secrets("a").List(ctx, metav1.ListOptions{})
	maps, err4 := core.ConfigMaps("a").List(ctx, metav1.ListOptions{})
	sets, err5 := c.Virtual.AppsV1().ReplicaSets("a").List(ctx, metav1.ListOptions{})
	deployments, err6 := c.Virtual.AppsV1().Deployments("a").List(ctx, metav1.ListOptions{})
	for _, err := range []error{err1, err2, err3, err4, err5, err6} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range pods.Items {
		note("Pod", &pods.Items[i].ObjectMeta, pods.Items[i].Status.PodIP)
	}
	for i := range services.Items {
		note("Service", &services.Items[i].ObjectMeta, services.Items[i].Spec.ClusterIP)
	}
	for i := range secrets.Items {
		note("Secret", &secrets.Items[i].ObjectMeta, "")
	}
	for i := range maps.Items {
		note("ConfigMap", &maps.Items[i].ObjectMeta, "")
	}
	for i := range sets.Items {
		note("ReplicaSet", &sets.Items[i].ObjectMeta, "")
	}
	for i := range deployments.Items {
		note("Deployment", &deployments.Items[i].ObjectMeta, "")
	}
	return all
}
