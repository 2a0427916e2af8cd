// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"syscall"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/pause"
	"portico.dev/portico/test/embedded"
)

// A cluster is paused and resumed: a bare pod, a Deployment and a Job with no
// retries go on, and a Service keeps its address.
func TestPauseAndResume(t *testing.T) {
	c := newCluster(t)
	c.CreateNamespace("shop")
	labels := map[string]string{"app": "web"}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: embedded.Pod("", nil).Spec}
	two, none := int32(2), int32(0)
	if _, err := c.Virtual.AppsV1().Deployments("shop").Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       appsv1.DeploymentSpec{Replicas: &two, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	job := corev1.PodTemplateSpec{Spec: *template.Spec.DeepCopy()}
	job.Spec.RestartPolicy = corev1.RestartPolicyNever
	// A pod of a Job ends at once on the simulated node; this one waits for a node.
	job.Spec.NodeSelector = map[string]string{"example.com/none": "here"}
	if _, err := c.Virtual.BatchV1().Jobs("shop").Create(t.Context(), &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "once"}, Spec: batchv1.JobSpec{BackoffLimit: &none, Template: job},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	bare := embedded.Pod("bare", labels)
	bare.Finalizers = []string{"example.com/held"}
	bare = c.CreatePod("shop", bare)
	service := c.CreateService("shop", "web", corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(80)}}})
	running := func(what string, ready int32) {
		t.Helper()
		embedded.Eventually(t, what, func(ctx context.Context) (bool, string) {
			d, err := c.Virtual.AppsV1().Deployments("shop").Get(ctx, "web", metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			j, err := c.Virtual.BatchV1().Jobs("shop").Get(ctx, "once", metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			p, err := c.Virtual.CoreV1().Pods("shop").Get(ctx, "bare", metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			return d.Status.ReadyReplicas == ready && j.Status.Active == 1 && p.Status.Phase == corev1.PodRunning,
				fmt.Sprintf("deployment %+v, job %+v, pod %s", d.Status, j.Status, p.Status.Phase)
		})
	}
	running("everything runs", 2)

	// This process is the control plane; the host has a workload by its name.
	one := int32(1)
	placeholder := map[string]string{"app": "porticod"}
	if _, err := c.Host.AppsV1().Deployments(c.Namespace).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: c.Name, Labels: map[string]string{rewrite.LabelCluster: c.Name}},
		Spec: appsv1.DeploymentSpec{Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: placeholder},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: placeholder}, Spec: embedded.Pod("", nil).Spec}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Process.End(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	host := pause.Cluster{Host: c.Host, Namespace: c.Namespace, Name: c.Name}
	if err := host.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	pods, err := c.Host.CoreV1().Pods(c.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(pods.Items) != 0 {
		t.Fatalf("pods of the paused cluster: %v, %v; want none", pods, err)
	}
	if err := host.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Start()
	running("everything runs again", 2)

	after, err := c.Virtual.CoreV1().Pods("shop").Get(t.Context(), "bare", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if after.UID == bare.UID || after.Labels["app"] != "web" || len(after.Finalizers) != 1 || after.Finalizers[0] != "example.com/held" {
		t.Errorf("the bare pod came back as %+v", after.ObjectMeta)
	}
	j, err := c.Virtual.BatchV1().Jobs("shop").Get(t.Context(), "once", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if j.Status.Failed != 0 {
		t.Errorf("the Job counts %d failed pods", j.Status.Failed)
	}
	s, err := c.Virtual.CoreV1().Services("shop").Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if s.UID != service.UID || s.Spec.ClusterIP != service.Spec.ClusterIP {
		t.Errorf("the Service has address %s and uid %s, had %s and %s", s.Spec.ClusterIP, s.UID, service.Spec.ClusterIP, service.UID)
	}
	// The finalizer is still the tenant's, and holds the pod.
	if _, err := c.Virtual.CoreV1().Pods("shop").Patch(t.Context(), "bare", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}
