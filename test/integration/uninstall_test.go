// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/test/embedded"
)

// TestUninstallLeavesNothingOnTheHost, also of a pod that a tenant's finalizer
// holds, and refuses to run next to a control plane.
func TestUninstallLeavesNothingOnTheHost(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("a")
	c.CreatePod("a", embedded.Pod("p", nil))
	held := embedded.Pod("held", nil)
	held.Finalizers = []string{"example.com/never"}
	c.CreatePod("a", held)
	c.CreateService("a", "web", corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}}})
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}},
	}}
	if _, err := c.Virtual.CoreV1().PersistentVolumeClaims("a").Create(t.Context(), claim, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.Settled("a", "p")
	if err := c.Virtual.CoreV1().Pods("a").Delete(t.Context(), "held", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Process.End(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.Process = nil

	labels := map[string]string{"portico.dev/cluster": c.Name}
	none := int32(0)
	workload := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: c.Name, Labels: labels}, Spec: appsv1.StatefulSetSpec{
		Replicas: &none, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"portico.dev/door": c.Name}},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"portico.dev/door": c.Name}}, Spec: embedded.Pod("", nil).Spec},
	}}
	if _, err := c.Host.AppsV1().StatefulSets(c.Namespace).Create(t.Context(), workload, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if p := uninstall(t, c.Cluster); p.Err == nil || !strings.Contains(p.Tail(), "control plane is still there") {
		t.Errorf("beside a control plane: %v\n%s", p.Err, p.Tail())
	}
	if _, err := c.Host.CoreV1().Pods(c.Namespace).Get(t.Context(), c.HostName("a", "p"), metav1.GetOptions{}); err != nil {
		t.Errorf("pod after a refused removal: %v", err)
	}
	if err := c.Host.AppsV1().StatefulSets(c.Namespace).Delete(t.Context(), c.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	embedded.Eventually(t, "the control plane goes", func(ctx context.Context) (bool, string) {
		_, err := c.Host.AppsV1().StatefulSets(c.Namespace).Get(ctx, c.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
	if p := uninstall(t, c.Cluster); p.Err != nil {
		t.Fatalf("%v\n%s", p.Err, p.Tail())
	}
	scope := metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: labels})}
	pods, err := c.Host.CoreV1().Pods(c.Namespace).List(t.Context(), scope)
	if err != nil || len(pods.Items) > 0 {
		t.Errorf("pods %v (%v)", pods, err)
	}
	services, err := c.Host.CoreV1().Services(c.Namespace).List(t.Context(), scope)
	if err != nil || len(services.Items) > 0 {
		t.Errorf("Services %v (%v)", services, err)
	}
	claims, err := c.Host.CoreV1().PersistentVolumeClaims(c.Namespace).List(t.Context(), scope)
	if err != nil || len(claims.Items) > 0 {
		t.Errorf("claims %v (%v)", claims, err)
	}
	configMaps, err := c.Host.CoreV1().ConfigMaps(c.Namespace).List(t.Context(), scope)
	if err != nil || len(configMaps.Items) > 0 {
		t.Errorf("ConfigMaps, the anchor among them: %v (%v)", configMaps, err)
	}
}

func uninstall(t *testing.T, c *embedded.Cluster) *embedded.Process {
	t.Helper()
	p, err := embedded.Start(t.TempDir(), "uninstall", nil, "uninstall", "--config", c.ConfigPath(), "--timeout", "2m")
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done
	return p
}
